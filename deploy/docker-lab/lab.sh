# What the parts of docker-lab.sh share: versions, names, a log line, figures.
# shellcheck shell=bash

DEBIAN_SUITE=bookworm
KAFKA_VERSION=4.3.1
CLICKHOUSE_VERSION=26.7
REGISTRY_VERSION=3.0.9
RYUK_VERSION=0.14.0
COMPOSE_VERSION=v2.40.3
BUILDX_VERSION=v0.30.1
# Its Go module has another numbering: 3.5.0 is v0.305.0.
PROMETHEUS_VERSION=v3.5.0
PROMETHEUS_MODULE=v0.305.0
GRAFANA_VERSION=12.2.0
NODE_VERSION=$(sed -n 's/^ *"node": "\([0-9.]*\)",$/\1/p' package.json)

# The names that docker-compose.yml, the Dockerfiles and Testcontainers ask for.
declare -A STAND_INS=(
  [kafka]="apache/kafka:$KAFKA_VERSION"
  [clickhouse]="clickhouse/clickhouse-server:$CLICKHOUSE_VERSION"
  [registry]="apicurio/apicurio-registry:$REGISTRY_VERSION"
  [node]="node:$NODE_VERSION-$DEBIAN_SUITE-slim"
  [ryuk]="testcontainers/ryuk:$RYUK_VERSION"
  [prometheus]="prom/prometheus:$PROMETHEUS_VERSION"
  [grafana]="grafana/grafana:$GRAFANA_VERSION"
)
BASE_IMAGE=agent-audit-lab/debian:$DEBIAN_SUITE
JAVA_IMAGE=agent-audit-lab/java:17-$DEBIAN_SUITE

say() { printf '\n== %s\n' "$*"; }

fail() {
  printf 'docker-lab: %s\n' "$*" >&2
  exit 1
}

# figure NAME VALUE: a row of the table at the end.
figure() { printf '%s\t%s\n' "$1" "$2" >>"$LAB_DIR/figures.tsv"; }

# in_seconds COMMAND…: runs it, and leaves the seconds that it took in $seconds.
in_seconds() {
  local start=$EPOCHREALTIME
  "$@"
  seconds=$(awk -v a="$start" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.1f", b - a }')
}

# run_node ARGUMENT…: a part of the lab in TypeScript. Its lines of name, tab, value are figures.
run_node() {
  node --conditions=agent-audit-source --disable-warning=TimeoutNegativeWarning "$@" | tee >(grep -P '^[^\t]+\t[^\t]+$' >>"$LAB_DIR/figures.tsv")
}
