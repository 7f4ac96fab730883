# The suites that need servers, on containers and on this machine's own servers.
# shellcheck shell=bash

SUITES=${SUITES:-test/integration test/consumer test/analytics test/stack}

run_suites() {
  local source
  for source in local containers; do
    say "Suites ($SUITES), servers: $source"
    # shellcheck disable=SC2086 # Several folders.
    in_seconds env AUDIT_SERVERS="$source" node_modules/.bin/vitest run $SUITES --maxWorkers=1
    figure "suites, servers: $source" "$seconds s"
  done
  local left
  left=$(docker ps --all --quiet --filter label=org.testcontainers=true | wc -l)
  figure 'containers left by the suites' "$left"
}
