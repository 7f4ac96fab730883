#!/bin/bash
# Containers, shown on a real Docker engine without an image registry. See docker-lab/README.md.
#
#   deploy/docker-lab.sh            everything below, in this order, and a table of figures
#   deploy/docker-lab.sh engine     install the engine where it is missing, start it if none answers
#   deploy/docker-lab.sh tools      build Docker Compose and buildx where the docker command has none
#   deploy/docker-lab.sh build      build the stand-in images (or those that are named: build kafka registry)
#   deploy/docker-lab.sh products   build the product's images, check them
#   deploy/docker-lab.sh compose    the compose file's scenario
#   deploy/docker-lab.sh suites     the suites that Testcontainers serves
#
# LAB_DIR: where parts are kept (node_modules/.cache/agent-audit/docker-lab), and the data of an engine that it starts.
set -euo pipefail

REPO=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
LAB_PARTS=$REPO/deploy/docker-lab
LAB_DIR=${LAB_DIR:-$REPO/node_modules/.cache/agent-audit/docker-lab}
mkdir -p "$LAB_DIR"
cd "$REPO"
# shellcheck source=docker-lab/lab.sh
source "$LAB_PARTS/lab.sh"
for part in engine tools stand-ins products; do
  # shellcheck source=/dev/null
  source "$LAB_PARTS/$part.sh"
done

everything() {
  ensure_engine
  ensure_tools
  build_stand_ins
}

main() {
  local command=${1:-all}
  if (($# > 0)); then shift; fi
  case $command in
    all) everything ;;
    engine) ensure_engine keep ;;
    tools) ensure_tools ;;
    build) ensure_engine && build_stand_ins "$@" ;;
    products) ensure_engine && ensure_tools && build_products ;;
    *) fail "no command $command; see the top of $0" ;;
  esac
}

main "$@"
