{{- define "agent-audit.name" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name | trunc 50 | trimSuffix "-" }}{{ else }}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 50 | trimSuffix "-" }}{{ end }}
{{- end }}

{{/* Labels of an object: dict "root" $ "role" "consumer". */}}
{{- define "agent-audit.labels" -}}
{{ include "agent-audit.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: agent-audit
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end }}

{{- define "agent-audit.selector" -}}
app.kubernetes.io/name: agent-audit-{{ .role }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
{{- end }}

{{/* dict "root" $ "image" .Values.image */}}
{{- define "agent-audit.image" -}}
{{- if .image.digest }}{{ .image.repository }}@{{ .image.digest }}{{ else }}{{ .image.repository }}:{{ .image.tag | default .root.Chart.AppVersion }}{{ end }}
{{- end }}

{{/* Whether a role reaches Kafka: of the detectors, those that send alerts to a topic. */}}
{{- define "agent-audit.usesKafka" -}}
{{- if or (ne .role "detect") .root.Values.detect.alerts.topic }}true{{ end -}}
{{- end }}

{{/*
The secrets that a role reads, as JSON: {items: [{name: the setting, without _FILE; secret; key}]}. One list for the
environment, which names the files, and for the volume that holds them.
*/}}
{{- define "agent-audit.secrets" -}}
{{- $v := .root.Values -}}
{{- $setup := eq .role "setup" -}}
{{- $consumer := eq .role "consumer" -}}
{{- $detect := eq .role "detect" -}}
{{- $kafka := include "agent-audit.usesKafka" . -}}
{{- $items := list -}}
{{- $services := dict "clickhouse" "CLICKHOUSE" -}}
{{- if $kafka }}{{ $_ := set $services "kafka" "KAFKA" }}{{ end -}}
{{- if $consumer }}{{ $_ := set $services "schemaRegistry" "SCHEMA_REGISTRY" }}{{ end -}}
{{- range $service, $prefix := $services -}}
{{- $tls := (index $v $service).tls -}}
{{- range $field, $name := dict "ca" "CA" "cert" "CERT" "key" "KEY" "keyPassword" "KEY_PASSWORD" -}}
{{- with index $tls $field -}}
{{- $secret := required (printf "%s.tls.existingSecret: expected the secret that has the key %s" $service .) $tls.existingSecret -}}
{{- $items = append $items (dict "name" (printf "%s_SSL_%s" $prefix $name) "secret" $secret "key" .) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $clickhouse := $v.clickhouse -}}
{{- if has .role (list "setup" "detect" "notary") }}{{ $clickhouse = (index $v .role).clickhouse }}{{ end -}}
{{- $items = append $items (dict "name" "CLICKHOUSE_PASSWORD" "secret" $clickhouse.existingSecret "key" $clickhouse.passwordKey) -}}
{{- if and $setup $v.setup.checkWriter -}}
{{- $items = append $items (dict "name" "CLICKHOUSE_WRITER_PASSWORD" "secret" $v.clickhouse.existingSecret "key" $v.clickhouse.passwordKey) -}}
{{- end -}}
{{- if and $setup $v.detect.enabled -}}
{{- $items = append $items (dict "name" "CLICKHOUSE_DETECTOR_PASSWORD" "secret" $v.detect.clickhouse.existingSecret "key" $v.detect.clickhouse.passwordKey) -}}
{{- end -}}
{{- if and $setup $v.notary.enabled -}}
{{- $items = append $items (dict "name" "CLICKHOUSE_NOTARY_PASSWORD" "secret" $v.notary.clickhouse.existingSecret "key" $v.notary.clickhouse.passwordKey) -}}
{{- end -}}
{{- $signingKey := dict -}}
{{- if $consumer }}{{ $signingKey = $v.consumer.signingKey }}{{ else if eq .role "notary" }}{{ $signingKey = $v.notary.signingKey }}{{ end -}}
{{- if $signingKey.existingSecret -}}
{{- $items = append $items (dict "name" "AUDIT_SIGNING_KEY" "secret" $signingKey.existingSecret "key" $signingKey.key) -}}
{{- end -}}
{{- if and (eq .role "notary") $v.notary.s3.url -}}
{{- $items = append $items (dict "name" "AWS_ACCESS_KEY_ID" "secret" $v.notary.s3.existingSecret "key" $v.notary.s3.accessKeyIdKey) -}}
{{- $items = append $items (dict "name" "AWS_SECRET_ACCESS_KEY" "secret" $v.notary.s3.existingSecret "key" $v.notary.s3.secretAccessKeyKey) -}}
{{- end -}}
{{- if $detect -}}
{{- with $v.detect.alerts -}}
{{- if .webhook.existingSecret -}}
{{- $items = append $items (dict "name" "AUDIT_ALERT_WEBHOOK_URL" "secret" .webhook.existingSecret "key" .webhook.urlKey) -}}
{{- $items = append $items (dict "name" "AUDIT_ALERT_WEBHOOK_SECRET" "secret" .webhook.existingSecret "key" .webhook.secretKey) -}}
{{- end -}}
{{- if .slack.existingSecret -}}
{{- $items = append $items (dict "name" "AUDIT_ALERT_SLACK_URL" "secret" .slack.existingSecret "key" .slack.urlKey) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if and $kafka $v.kafka.sasl.mechanism -}}
{{- $sasl := fromJson (include "agent-audit.sasl" .) -}}
{{- $items = append $items (dict "name" "KAFKA_SASL_PASSWORD" "secret" $sasl.existingSecret "key" $sasl.passwordKey) -}}
{{- end -}}
{{- if and $consumer $v.schemaRegistry.username -}}
{{- $items = append $items (dict "name" "SCHEMA_REGISTRY_PASSWORD" "secret" $v.schemaRegistry.existingSecret "key" $v.schemaRegistry.passwordKey) -}}
{{- end -}}
{{- dict "items" $items | toJson -}}
{{- end }}

{{/* SASL credentials of a role. */}}
{{- define "agent-audit.sasl" -}}
{{- $sasl := .root.Values.kafka.sasl -}}
{{- if ne .role "consumer" -}}
{{- with (index .root.Values .role).kafka.sasl }}{{ if .username }}{{ $sasl = . }}{{ end }}{{ end -}}
{{- end -}}
{{- $sasl | toJson -}}
{{- end }}

{{/* How a role reaches Kafka and ClickHouse. */}}
{{- define "agent-audit.connectionEnv" -}}
{{- $v := .root.Values -}}
{{- if include "agent-audit.usesKafka" . }}
- { name: KAFKA_BROKERS, value: {{ $v.kafka.brokers | quote }} }
{{- if $v.kafka.tls.enabled }}
- { name: KAFKA_SSL, value: 'true' }
{{- end }}
{{- if $v.kafka.sasl.mechanism }}
- { name: KAFKA_SASL_MECHANISM, value: {{ $v.kafka.sasl.mechanism | quote }} }
- { name: KAFKA_SASL_USERNAME, value: {{ (fromJson (include "agent-audit.sasl" .)).username | quote }} }
{{- end }}
{{- end }}
- { name: CLICKHOUSE_URL, value: {{ $v.clickhouse.url | quote }} }
- { name: CLICKHOUSE_DATABASE, value: {{ $v.clickhouse.database | quote }} }
{{- range (fromJson (include "agent-audit.secrets" .)).items }}
- { name: {{ .name }}_FILE, value: /etc/agent-audit/secrets/{{ .name }} }
{{- end }}
{{- end }}

{{- define "agent-audit.secretVolume" -}}
- name: secrets
  projected:
    defaultMode: 0440
    sources:
      {{- range (fromJson (include "agent-audit.secrets" .)).items }}
      - secret:
          name: {{ .secret | quote }}
          items: [{ key: {{ .key | quote }}, path: {{ .name }} }]
      {{- end }}
{{- end }}

{{/* Ports as a list of rules' ports; dict "given" […] "found" […]. */}}
{{- define "agent-audit.ports" -}}
{{- range (empty .given | ternary .found .given) | uniq }}
- { protocol: TCP, port: {{ . | int }} }
{{- end }}
{{- end }}

{{/* The port of a URL. */}}
{{- define "agent-audit.portOf" -}}
{{- $url := urlParse . -}}
{{- regexFind ":[0-9]+$" $url.host | trimPrefix ":" | default (eq $url.scheme "https" | ternary "443" "80") -}}
{{- end }}

{{/* What a role may reach. */}}
{{- define "agent-audit.egress" -}}
{{- $v := .root.Values -}}
{{- $policy := $v.networkPolicy -}}
{{- $brokers := list -}}
{{- range splitList "," $v.kafka.brokers }}{{ $brokers = append $brokers (regexFind "[0-9]+$" (trim .)) }}{{ end -}}
- ports: [{ protocol: UDP, port: 53 }, { protocol: TCP, port: 53 }]
  {{- with $policy.dns.to }}
  to: {{ toJson . }}
  {{- end }}
{{- if include "agent-audit.usesKafka" . }}
- ports:
    {{- include "agent-audit.ports" (dict "given" $policy.kafka.ports "found" $brokers) | trim | nindent 4 }}
  {{- with $policy.kafka.to }}
  to: {{ toJson . }}
  {{- end }}
{{- end }}
- ports:
    {{- include "agent-audit.ports" (dict "given" $policy.clickhouse.ports "found" (list (include "agent-audit.portOf" $v.clickhouse.url))) | trim | nindent 4 }}
  {{- with $policy.clickhouse.to }}
  to: {{ toJson . }}
  {{- end }}
{{- with $v.detect.alerts }}
{{- if and (eq $.role "detect") (or .webhook.existingSecret .slack.existingSecret) }}
- ports:
    {{- include "agent-audit.ports" (dict "given" $policy.alerts.ports "found" (list 443)) | trim | nindent 4 }}
  {{- with $policy.alerts.to }}
  to: {{ toJson . }}
  {{- end }}
{{- end }}
{{- end }}
{{- if and (eq .role "notary") (or $v.notary.s3.url $v.notary.witnesses) }}
- ports:
    {{- include "agent-audit.ports" (dict "given" $policy.checkpoints.ports "found" (list 443)) | trim | nindent 4 }}
  {{- with $policy.checkpoints.to }}
  to: {{ toJson . }}
  {{- end }}
{{- end }}
{{- if and $v.schemaRegistry.url (eq .role "consumer") }}
- ports:
    {{- include "agent-audit.ports" (dict "given" $policy.schemaRegistry.ports "found" (list (include "agent-audit.portOf" $v.schemaRegistry.url))) | trim | nindent 4 }}
  {{- with $policy.schemaRegistry.to }}
  to: {{ toJson . }}
  {{- end }}
{{- end }}
{{- end }}
