#!/bin/sh
# `docker compose up -d --wait`, and one line that says what to do where it fails. Arguments go to `docker compose`:
#
#   sh deploy/compose/up.sh
#   sh deploy/compose/up.sh --profile full
set -eu
cd "$(dirname "$0")/../.."

output=$(mktemp)
trap 'rm -f "$output"' EXIT
status=0
docker compose "$@" up -d --wait > "$output" 2>&1 || status=$?
cat "$output" >&2
if [ "$status" -eq 0 ]; then exit 0; fi

failed() {
  echo "up.sh: $*" >&2
  exit "$status"
}
logOf() { docker compose "$@" 2> /dev/null; }

taken=$(sed -nE 's/.*127\.0\.0\.1:([0-9]+).*(already allocated|already in use).*/\1/p' "$output" | head -n 1)
if [ -n "$taken" ]; then
  failed "port $taken of 127.0.0.1 is taken: stop what listens there, or set another AUDIT_..._PORT in .env (its last lines name them)"
fi
if grep -q 'required variable' "$output"; then
  failed "a value is missing in .env: sh deploy/compose/env.sh makes the file, and names what an old one lacks"
fi
other=$(logOf "$@" logs --no-log-prefix --tail 200 kafka | sed -nE 's/.*Invalid cluster\.id .*Expected ([^ ,]+), but read ([A-Za-z0-9_-]+).*/\2, and AUDIT_KAFKA_CLUSTER_ID in .env is \1/p' | tail -n 1)
if [ -n "$other" ]; then
  failed "the data in the volume kafka-data is of cluster $other: set the id of the data in .env. Nothing was changed"
fi
said=$(logOf "$@" logs --no-log-prefix --tail 20 setup | sed -n 's/^agent-audit: //p' | tail -n 1)
if [ -n "$said" ]; then failed "setup: $said"; fi
unhealthy=$(sed -nE 's/.*container ([^ ]+) (is unhealthy|exited.*)/\1/p' "$output" | tail -n 1)
failed "see what ${unhealthy:-the container} says: docker logs --tail 50 ${unhealthy:-NAME}"
