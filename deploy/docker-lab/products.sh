# The product's images: built by buildx from deploy/docker/Dockerfile.
# shellcheck shell=bash

VERSION=$(sed -n 's/^  "version": "\(.*\)",$/\1/p' package.json)
CONSUMER_IMAGE=agent-audit-consumer:$VERSION
COMMAND_IMAGE=agent-audit:$VERSION

build_products() {
  local options=(--file deploy/docker/Dockerfile --build-arg "REVISION=$(git rev-parse HEAD)")
  # Where the machine's own certificate authority or npm settings are needed to reach a registry, they are needed in the build.
  if [[ -f ${NODE_EXTRA_CA_CERTS:-} ]]; then options+=(--secret "id=ca,src=$NODE_EXTRA_CA_CERTS"); fi
  if [[ -f ${NPM_CONFIG_USERCONFIG:-$HOME/.npmrc} ]]; then
    options+=(--secret "id=npmrc,src=${NPM_CONFIG_USERCONFIG:-$HOME/.npmrc}")
  fi
  say "Building $CONSUMER_IMAGE and $COMMAND_IMAGE"
  buildx "${options[@]}" --target consumer --tag "$CONSUMER_IMAGE"
  buildx "${options[@]}" --target command --tag "$COMMAND_IMAGE"
}

check_products() {
  run_node deploy/docker-lab/product-check.ts --consumer "$CONSUMER_IMAGE" --command "$COMMAND_IMAGE" \
    --kafka "${STAND_INS[kafka]}" --clickhouse "${STAND_INS[clickhouse]}"
}

buildx() {
  docker buildx build --progress plain "$@" . >"$LAB_DIR/build.log" 2>&1 \
    || { tail -20 "$LAB_DIR/build.log" >&2; fail "an image could not be built: build.log in LAB_DIR says why"; }
}
