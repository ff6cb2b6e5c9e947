#!/bin/bash
# The story without a cluster: a standalone sidecar, a PostgreSQL of this machine's packages, psql.
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=postgres.sh
. "$(dirname "$0")/postgres.sh"
# shellcheck source=story.sh
. "$(dirname "$0")/story.sh"
cd "$root"

heading "building (a few minutes the first time)"
cargo build --quiet --locked -p chaperone-sidecar -p chaperone-cli
bin=$target/debug

work=$(mktemp -d)
chmod 755 "$work"
sidecar=
cleanup() {
  [[ -z $sidecar ]] || { kill "$sidecar" 2>/dev/null && wait "$sidecar" 2>/dev/null; } || true
  postgres_stop "$work/postgres" || true
  rm -rf "$work"
}
trap cleanup EXIT

port=$((20000 + RANDOM % 10000))
agent_port=$((port + 10000))
password=$(openssl rand -hex 12)
heading "a PostgreSQL on port $port, with a role \`app\` whose password nobody but the sidecar will know"
postgres_start "$work/postgres" "$port"
admin=(psql -q -h "$work/postgres" -p "$port" -U postgres)
"${admin[@]}" -c "CREATE ROLE app LOGIN PASSWORD '$password'" -c "CREATE DATABASE shop OWNER app"
"${admin[@]}" -d shop -c "SET ROLE app" -f "$root/hack/story/shop.sql"

mkdir -p "$work/resources"
sed -e "s/@PORT@/$port/; s/@AGENT_PORT@/$agent_port/; s/@PASSWORD@/$password/" \
  "$root/hack/story/standalone.yaml" "$root/hack/story/policy.yaml" >"$work/resources/shop.yaml"
start_sidecar() {
  "$bin/chaperone-sidecar" run --standalone "$work/resources" --namespace shop --service-account planner \
    --audit "$work/audit" --socket "$work/sidecar.sock" 2>"$work/sidecar.log" &
  sidecar=$!
}
start_sidecar
unset PGPASSWORD PGUSER PGSERVICE
export PGHOST=127.0.0.1 PGPORT=$agent_port PGDATABASE=shop PGUSER=planner PGCONNECT_TIMEOUT=5
wait_for psql -qc 'SELECT 1'

agent=psql server_saw="grep -c 'DROP TABLE' postgres/log" policy=shop.yaml audit=(--dir "$work/audit") audit_shown=' --dir audit'
agent() { psql "$@"; }
server_saw() { grep -c 'DROP TABLE' "$work/postgres/log" || true; }
plugin() { "$bin/kubectl-chaperone" "$@"; }
copy_records() { cp -r "$work/audit" "$1"; }
allow_ssn() {
  sed -i 's/columns: \[id, name\]/columns: [id, name, ssn]/' "$work/resources/shop.yaml"
  curl -sS --unix-socket "$work/sidecar.sock" -X POST http://sidecar/reload >/dev/null
}

tell_read
tell_column
tell_drop
tell_session
tell_change "$work"
step "kill -9 of the sidecar loses no record" "The sidecar is killed and started again; what it recorded comes after it."
kill -9 "$sidecar"
wait "$sidecar" 2>/dev/null || true
start_sidecar
wait_for psql -qc 'SELECT 1'
tell_refusals
tell_verify "$work"

printf '\nThat was the whole story. Its resources are in hack/story; the demo tells it on Kubernetes.\n'
