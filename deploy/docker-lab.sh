#!/bin/bash
# Containers, shown on a real Docker engine without an image registry. See docker-lab/README.md.
#
#   deploy/docker-lab.sh            all of the below, in this order, and a table of figures
#   deploy/docker-lab.sh engine     install the engine where it is missing, start it if none answers
#   deploy/docker-lab.sh tools      build Docker Compose and buildx where the docker command has none
#   deploy/docker-lab.sh build      build the stand-in images, or those that are named: build kafka registry
#   deploy/docker-lab.sh products   build the product's images, and check them
#   deploy/docker-lab.sh compose    run the compose file: up, load, kills, down and up, bad inputs
#   deploy/docker-lab.sh suites     run the suites on containers and on this machine's own servers
#
# LAB_DIR: parts, and the data of an engine that the lab starts (node_modules/.cache/agent-audit/docker-lab).
# AUDIT_SESSIONS_FILE: recorded sessions that the compose file's scenario replays. SUITES: folders of tests,
# instead of those of `npm run test:containers`.
set -euo pipefail

REPO=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
LAB_PARTS=$REPO/deploy/docker-lab
LAB_DIR=${LAB_DIR:-$REPO/node_modules/.cache/agent-audit/docker-lab}
mkdir -p "$LAB_DIR"
cd "$REPO"
# The tools of the lock file, Node among them.
export PATH=$REPO/node_modules/.bin:$PATH
for part in lab engine tools stand-ins products suites; do
  # shellcheck source=/dev/null
  source "$LAB_PARTS/$part.sh"
done

everything() {
  : >"$LAB_DIR/figures.tsv"
  ensure_engine
  ensure_tools
  build_stand_ins
  build_products
  check_products
  run_scenario
  run_suites
  say 'Figures'
  column -t -s $'\t' "$LAB_DIR/figures.tsv"
}

run_scenario() {
  run_node "$LAB_PARTS/scenario.ts"
}

main() {
  local command=${1:-all}
  if (($# > 0)); then shift; fi
  case $command in
    all) everything ;;
    engine) ensure_engine keep ;;
    tools) ensure_tools ;;
    build)
      ensure_engine
      build_stand_ins "$@"
      ;;
    products)
      ensure_engine
      ensure_tools
      build_products
      check_products
      ;;
    compose)
      ensure_engine
      ensure_tools
      run_scenario
      ;;
    suites)
      ensure_engine
      run_suites
      ;;
    *) fail "no command $command; see the top of $0" ;;
  esac
}

main "$@"
