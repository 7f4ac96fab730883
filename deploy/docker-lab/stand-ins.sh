# Stand-in images: built from what the package registries serve, under the names of the official ones.
# shellcheck shell=bash

# build_stand_ins [NAME…]
build_stand_ins() {
  local name names=("$@")
  if ((${#names[@]} == 0)); then names=(node kafka clickhouse registry ryuk grafana prometheus); fi
  build_base
  for name in "${names[@]}"; do
    [[ -n ${STAND_INS[$name]:-} ]] || fail "there is no stand-in $name; there are: ${!STAND_INS[*]}"
    "build_$name"
  done
}

# Debian by debootstrap: enough for health checks (curl, wget, ps) and for changing the user (setpriv, of util-linux).
build_base() {
  if docker image inspect "$BASE_IMAGE" >/dev/null 2>&1; then return; fi
  if ! command -v debootstrap >/dev/null; then apt-get install -q -y --no-install-recommends debootstrap; fi
  say "Building $BASE_IMAGE"
  local root=$LAB_DIR/debian
  rm -rf "$root"
  debootstrap --variant=minbase --include=ca-certificates,curl,procps,wget "$DEBIAN_SUITE" "$root" >"$LAB_DIR/debootstrap.log" \
    || fail 'debootstrap did not end well: debootstrap.log in LAB_DIR says why'
  rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/* "$root"/usr/share/doc "$root"/usr/share/man
  tar --numeric-owner -C "$root" -c . | docker import - "$BASE_IMAGE" >/dev/null
  rm -rf "$root"
}

build_java() {
  build_base
  recipe_image java "$JAVA_IMAGE" "$BASE_IMAGE"
}

build_node() {
  part npm fetch_npm
  recipe_image node "${STAND_INS[node]}" "$BASE_IMAGE" node_modules/node/bin/node "$LAB_DIR/parts/npm"
}

build_kafka() {
  build_java
  part libs fetch_kafka
  recipe_image kafka "${STAND_INS[kafka]}" "$JAVA_IMAGE" "$LAB_DIR/parts/libs"
}

build_clickhouse() {
  local program=$LAB_DIR/parts/clickhouse-server
  mkdir -p "$LAB_DIR/parts"
  cc -O2 -Wall -o "$program" "$LAB_PARTS/images/clickhouse/clickhouse-server.c" -ldl -lpthread
  recipe_image clickhouse "${STAND_INS[clickhouse]}" "$BASE_IMAGE" "$program" node_modules/@chdb/lib-linux-x64-gnu/libchdb.so
}

build_registry() {
  build_java
  part registry fetch_registry
  recipe_image registry "${STAND_INS[registry]}" "$JAVA_IMAGE" "$LAB_DIR/parts/registry"
}

build_ryuk() {
  build_node
  recipe_image ryuk "${STAND_INS[ryuk]}" "${STAND_INS[node]}"
}

build_prometheus() {
  local module=github.com/prometheus/prometheus@$PROMETHEUS_MODULE
  local flags="-X github.com/prometheus/common/version.Version=${PROMETHEUS_VERSION#v}"
  go_program promtool "$module" ./cmd/promtool "$flags"
  go_program prometheus "$module" ./cmd/prometheus "$flags"
  recipe_image prometheus "${STAND_INS[prometheus]}" "$BASE_IMAGE" "$LAB_DIR/bin/prometheus" "$LAB_DIR/bin/promtool"
}

build_grafana() {
  build_node
  recipe_image grafana "${STAND_INS[grafana]}" "${STAND_INS[node]}" node_modules/yaml
}

fetch_kafka() { mvn -q -B -f stack/kafka/pom.xml dependency:copy-dependencies "-DoutputDirectory=$1"; }

fetch_registry() {
  mvn -q -B dependency:unpack "-Dartifact=io.apicurio:apicurio-registry-app:$REGISTRY_VERSION:zip:all" "-DoutputDirectory=$1"
}

# The newest npm of the major version that Node 24 ships.
fetch_npm() {
  mkdir "$1" && tar -xz --strip-components=1 -C "$1" -f "$(cd "$LAB_DIR" && npm pack --silent npm@11 | sed "s|^|$LAB_DIR/|")"
}

# part NAME COMMAND: a fetched folder $LAB_DIR/parts/NAME, whole or not there.
part() {
  local folder=$LAB_DIR/parts/$1
  if [[ -d $folder ]]; then return; fi
  mkdir -p "$LAB_DIR/parts"
  rm -rf "$folder.draft"
  "$2" "$folder.draft" || fail "$1 could not be fetched"
  mv "$folder.draft" "$folder"
}

# recipe_image NAME TAG BASE PART…: images/NAME with the parts as its context. An image whose recipe and base are the same as
# those it was built from is left as it is.
recipe_image() {
  local name=$1 tag=$2 base=$3 context=$LAB_DIR/context/$1 recipe
  shift 3
  recipe=$({ cd "$LAB_PARTS/images/$name" && find . -type f -exec sha256sum {} + | sort; docker image inspect -f '{{.Id}}' "$base"; } \
    | sha256sum | cut -c1-16)
  if [[ $(docker image inspect -f '{{index .Config.Labels "agent-audit.lab.recipe"}}' "$tag" 2>/dev/null) == "$recipe" ]]; then return; fi
  say "Building $tag"
  rm -rf "$context"
  mkdir -p "$context"
  cp -r "$LAB_PARTS/images/$name/." "$context/"
  if (($# > 0)); then cp -rl "$@" "$context/" 2>/dev/null || cp -r "$@" "$context/"; fi
  # The engine's own builder: its base is an image that no registry has.
  DOCKER_BUILDKIT=0 docker build --build-arg "BASE=$base" --label "agent-audit.lab.recipe=$recipe" --tag "$tag" "$context" \
    >"$LAB_DIR/build.log" 2>&1 || { tail -20 "$LAB_DIR/build.log" >&2; fail "$tag could not be built: build.log in LAB_DIR says why"; }
  rm -rf "$context"
}
