# Docker Compose and buildx, built from their Go modules where the docker command has none (Debian ships neither).
# shellcheck shell=bash

PLUGINS=${DOCKER_CONFIG:-$HOME/.docker}/cli-plugins

ensure_tools() {
  if ! docker compose version >/dev/null 2>&1; then
    go_program compose "github.com/docker/compose/v2@$COMPOSE_VERSION" ./cmd \
      "-X github.com/docker/compose/v2/internal.Version=$COMPOSE_VERSION"
    install -D "$LAB_DIR/bin/compose" "$PLUGINS/docker-compose"
  fi
  if ! docker buildx version >/dev/null 2>&1; then
    go_program buildx "github.com/docker/buildx@$BUILDX_VERSION" ./cmd/buildx \
      "-X github.com/docker/buildx/version.Version=$BUILDX_VERSION"
    install -D "$LAB_DIR/bin/buildx" "$PLUGINS/docker-buildx"
  fi
  docker compose version
  docker buildx version
}

# go_program NAME MODULE@VERSION PACKAGE LINKER-FLAGS: into $LAB_DIR/bin/NAME. It builds in a copy of the module's folder, as
# `go install` takes no module that replaces or excludes others.
go_program() {
  local name=$1 module=$2 package=$3 flags=$4 source
  if [[ -x $LAB_DIR/bin/$name ]]; then return; fi
  command -v go >/dev/null || fail "$name is built with Go, which is not installed"
  say "Building $module"
  mkdir -p "$LAB_DIR/bin"
  source=$(go mod download -json "$module" | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p')
  rm -rf "$LAB_DIR/go-$name"
  cp -r "$source" "$LAB_DIR/go-$name"
  chmod -R u+w "$LAB_DIR/go-$name"
  (cd "$LAB_DIR/go-$name" && CGO_ENABLED=0 go build -mod=mod -buildvcs=false -trimpath -ldflags "-s -w $flags" \
    -o "$LAB_DIR/bin/$name.draft" "$package")
  mv "$LAB_DIR/bin/$name.draft" "$LAB_DIR/bin/$name"
  rm -rf "$LAB_DIR/go-$name"
}
