#!/bin/bash
# The official entrypoint's contract: make the user that the environment asks for, give the data to clickhouse, start.
set -euo pipefail

readonly CONFIG=/etc/clickhouse-server DATA=/var/lib/clickhouse

xml() { sed 's/&/\&amp;/g; s/</\&lt;/g; s/>/\&gt;/g' <<<"$1"; }

make_user() {
  local user=${CLICKHOUSE_USER:-} password=${CLICKHOUSE_PASSWORD:-} access=${CLICKHOUSE_DEFAULT_ACCESS_MANAGEMENT:-0}
  if [[ -n ${CLICKHOUSE_PASSWORD_FILE:-} ]]; then password=$(<"$CLICKHOUSE_PASSWORD_FILE"); fi
  if [[ -z $user && -z $password ]]; then return; fi
  if [[ -z $user || $user == default ]]; then
    echo 'clickhouse stand-in: the library keeps the user default for itself; name another by CLICKHOUSE_USER' >&2
    exit 1
  fi
  cat >"$CONFIG/users.d/default-user.xml" <<XML
<clickhouse>
  <users>
    <$user>
      <password>$(xml "$password")</password>
      <networks><ip>::/0</ip></networks>
      <profile>default</profile>
      <quota>default</quota>
      <access_management>$access</access_management>
    </$user>
  </users>
</clickhouse>
XML
}

# The library takes no database to make at its start: the first request after it listens makes it.
make_database() {
  local url=http://127.0.0.1:8123
  until curl --silent --fail "$url/ping" >/dev/null; do sleep 0.1; done
  curl --silent --show-error --fail --user "$CLICKHOUSE_USER:${CLICKHOUSE_PASSWORD:-}" "$url" \
    --data-binary "CREATE DATABASE IF NOT EXISTS \`$CLICKHOUSE_DB\`"
}

if (($# > 0)) && [[ $1 != --* ]]; then exec "$@"; fi
if [[ ${CLICKHOUSE_SKIP_USER_SETUP:-0} != 1 ]]; then make_user; fi
if [[ -n ${CLICKHOUSE_DB:-} && -n ${CLICKHOUSE_USER:-} ]]; then make_database & fi
mkdir -p "$DATA"
if (($(id -u) != 0)); then exec clickhouse-server "$CONFIG/config.xml" "$DATA"; fi
chown -R clickhouse:clickhouse "$DATA"
exec setpriv --reuid clickhouse --regid clickhouse --clear-groups clickhouse-server "$CONFIG/config.xml" "$DATA"
