# The suites that need servers, on containers and on this machine's own servers.
# shellcheck shell=bash

# Those of `npm run test:containers`, which is the list of them.
SUITES=${SUITES:-$(sed -n 's/^ *"test:containers": ".* vitest run \(.*\)",$/\1/p' package.json)}

# How long the reaper may take after the last process of a run has ended.
REAP_S=15

run_suites() {
  local source before left waited=0
  [[ -n $SUITES ]] || fail 'package.json has no list of suites in test:containers'
  before=$(of_testcontainers)
  tsc -b
  for source in local containers; do
    say "Suites ($SUITES), servers: $source"
    # shellcheck disable=SC2086 # Several folders.
    in_seconds env AUDIT_SERVERS="$source" vitest run $SUITES
    figure "suites, servers: $source" "$seconds s"
  done
  while left=$(comm -13 <(echo "$before") <(of_testcontainers)) && [[ -n $left ]]; do
    if ((waited++ >= REAP_S)); then fail "containers left by the suites: $left"; fi
    sleep 1
  done
  figure 'containers left by the suites' 0
}

of_testcontainers() { docker ps --all --quiet --filter label=org.testcontainers=true | sort; }
