#!/bin/sh
# Makes the .env of docker-compose.yml, once: random passwords, readable by this account alone. Then prints, for a shell, what
# `npm start` and `agent-audit` read to use those servers:
#
#   eval "$(sh deploy/compose/env.sh)"
#
# An .env that is there is left as it is: its passwords are in use.
set -eu
cd "$(dirname "$0")/../.."
file=${AUDIT_ENV_FILE:-.env}

random() { head -c 1024 /dev/urandom | LC_ALL=C tr -dc 'A-Za-z0-9' | head -c "$1"; }

# A private key of Ed25519 as `agent-audit keys generate` makes it, on one line: \n stands for a line feed.
key() {
  body=$({ printf '\060\056\002\001\000\060\005\006\003\053\145\160\004\042\004\040' && head -c 32 /dev/urandom; } | base64)
  printf '%s' "Key-Name: $1\\n-----BEGIN PRIVATE KEY-----\\n$body\\n-----END PRIVATE KEY-----\\n"
}

make_env() {
  cat <<EOF
# What plain \`docker compose up\` starts: core, or full (also detectors, the schema registry, Prometheus and Grafana); with notary
# beside it, such as core,notary, the log of all seals and its checkpoints.
COMPOSE_PROFILES=core

# The identity of Kafka's log. It belongs to the volume kafka-data: a volume that is made anew needs a new one (22 characters).
AUDIT_KAFKA_CLUSTER_ID=$(random 21)A

AUDIT_KAFKA_PASSWORD=$(random 32)
AUDIT_ADMIN_PASSWORD=$(random 32)
AUDIT_WRITER_PASSWORD=$(random 32)
AUDIT_READER_PASSWORD=$(random 32)
AUDIT_DETECTOR_PASSWORD=$(random 32)
AUDIT_NOTARY_PASSWORD=$(random 32)
# The notary's private key (profile notary). \`docker compose logs notary\` says the public one, for the trust file.
AUDIT_NOTARY_KEY=$(key notary)
# Of the user admin, in the profile full.
AUDIT_GRAFANA_PASSWORD=$(random 32)

# Where a port of 127.0.0.1 is taken, choose another here.
#AUDIT_KAFKA_PORT=9092
#AUDIT_CLICKHOUSE_PORT=8123
#AUDIT_CONSUMER_PORT=9464
#AUDIT_DETECT_PORT=9465
#AUDIT_NOTARY_PORT=9466
#AUDIT_REGISTRY_PORT=8081
#AUDIT_PROMETHEUS_PORT=9090
#AUDIT_GRAFANA_PORT=3000
EOF
}

if [ ! -e "$file" ]; then
  # Readable by this account alone.
  new=$(mktemp "$file.XXXXXX")
  make_env > "$new"
  # A link is made by one process alone: two that run at once agree on the passwords of the first.
  ln "$new" "$file" 2> /dev/null || [ -e "$file" ]
  rm -f "$new"
  echo "env.sh: made $file with random passwords" >&2
fi

valueOf() {
  value=$(sed -n "s/^$1=//p" "$file" | tail -n 1)
  if [ -z "$value" ] && [ $# -eq 1 ]; then
    echo "env.sh: $file has no $1: copy the line from .env.example and give it a value, or move $file away and run this again" >&2
    exit 1
  fi
  echo "${value:-${2-}}"
}

KAFKA=$(valueOf AUDIT_KAFKA_PASSWORD)
ADMIN=$(valueOf AUDIT_ADMIN_PASSWORD)
WRITER=$(valueOf AUDIT_WRITER_PASSWORD)
READER=$(valueOf AUDIT_READER_PASSWORD)
DETECTOR=$(valueOf AUDIT_DETECTOR_PASSWORD)
NOTARY=$(valueOf AUDIT_NOTARY_PASSWORD)
cat <<EOF
export KAFKA_BROKERS='localhost:$(valueOf AUDIT_KAFKA_PORT 9092)'
export KAFKA_SASL_MECHANISM='plain'
export KAFKA_SASL_USERNAME='audit'
export KAFKA_SASL_PASSWORD='$KAFKA'
export CLICKHOUSE_URL='http://localhost:$(valueOf AUDIT_CLICKHOUSE_PORT 8123)'
export CLICKHOUSE_USER='admin'
export CLICKHOUSE_PASSWORD='$ADMIN'
export AUDIT_WRITER_PASSWORD='$WRITER'
export AUDIT_READER_PASSWORD='$READER'
export AUDIT_DETECTOR_PASSWORD='$DETECTOR'
export AUDIT_NOTARY_PASSWORD='$NOTARY'
EOF
