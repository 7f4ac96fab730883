# The Docker engine: Debian's package, and a daemon of the lab's where none answers.
# shellcheck shell=bash

ENGINE_TIMEOUT_S=60

# ensure_engine [keep]: a daemon that this call starts ends with the script, by its pid, unless it is kept.
ensure_engine() {
  if ! command -v docker >/dev/null || ! command -v dockerd >/dev/null; then
    docker info >/dev/null 2>&1 && return
    say 'Installing the Docker engine from Debian'
    apt-get update -q && apt-get install -q -y --no-install-recommends docker.io docker-cli iptables
  fi
  docker info >/dev/null 2>&1 && return
  start_engine "${1:-}"
}

start_engine() {
  local socket=$LAB_DIR/docker.sock root=$LAB_DIR/engine waited=0
  say "Starting a Docker engine with its data in $root"
  dockerd --data-root "$root" --exec-root "$LAB_DIR/exec" --pidfile "$LAB_DIR/docker.pid" -H "unix://$socket" \
    >"$LAB_DIR/dockerd.log" 2>&1 &
  ENGINE_PID=$!
  export DOCKER_HOST=unix://$socket
  until docker info >/dev/null 2>&1; do
    if ! kill -0 "$ENGINE_PID" 2>/dev/null || ((waited++ > ENGINE_TIMEOUT_S)); then
      tail -5 "$LAB_DIR/dockerd.log" >&2
      fail 'the engine does not answer; its log is dockerd.log in LAB_DIR'
    fi
    sleep 1
  done
  if [[ $1 == keep ]]; then
    echo "export DOCKER_HOST=$DOCKER_HOST   # the engine's process is $ENGINE_PID"
  else
    trap 'kill -TERM "$ENGINE_PID"; wait "$ENGINE_PID"' EXIT
  fi
}
