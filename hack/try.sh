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
sed -e "s/@PORT@/$port/; s/@AGENT_PORT@/$agent_port/; s/@PASSWORD@/$password/" "$root/hack/story/standalone.yaml" >"$work/resources/shop.yaml"
start_sidecar() {
  "$bin/chaperone-sidecar" run --standalone "$work/resources" --namespace shop --service-account planner \
    --audit "$work/audit" --socket "$work/sidecar.sock" 2>"$work/sidecar.log" &
  sidecar=$!
}
start_sidecar
unset PGPASSWORD PGUSER PGSERVICE
export PGHOST=127.0.0.1 PGPORT=$agent_port PGDATABASE=shop PGUSER=planner PGCONNECT_TIMEOUT=5
wait_for psql -qc 'SELECT 1'

step "An agent reads what the policy allows" "Plain psql, no password anywhere: the sidecar logs in upstream."
show "psql -c 'SELECT id, customer, amount FROM orders LIMIT 3'"
must psql -c 'SELECT id, customer, amount FROM orders ORDER BY id LIMIT 3'

step "It may read names of customers, but not their social security numbers" "The refusal names the column that is missing, and how to ask for it."
show "psql -c 'SELECT name, ssn FROM customers'"
must_refuse 'customers.ssn' psql -c 'SELECT name, ssn FROM customers'

step "DROP TABLE is refused before it reaches the database" "The rule's own message; then the server's log, which never saw the statement."
show "psql -c 'DROP TABLE orders'"
must_refuse 'ask the data team' psql -c 'DROP TABLE orders'
show "grep -c 'DROP TABLE' postgres/log"
count=$(grep -c 'DROP TABLE' "$work/postgres/log" || true)
printf '     %s\n' "$count"
[[ $count == 0 ]] || fail "the statement reached the server"

step "A refusal is an ordinary error: the session goes on" "The transaction is aborted as PostgreSQL does it, and rolled back; then the same session reads."
show "psql <<< 'BEGIN; DELETE FROM orders; SELECT 1; ROLLBACK; SELECT count(*) FROM orders'"
must psql -qAt <<<'BEGIN; SELECT 1;
DELETE FROM orders;
SELECT 1;
ROLLBACK;
SELECT count(*) FROM orders;'

step "A changed policy counts at the next statement of a live session" "One psql session: first the column is refused, then the file is edited, then the same session reads it."
show "edit shop.yaml: columns: [id, name, ssn]"
mkfifo "$work/live"
psql -qAt <"$work/live" >"$work/live.out" 2>&1 &
live=$!
exec 9>"$work/live"
echo "SELECT ssn FROM customers LIMIT 1;" >&9
wait_for grep -q refused "$work/live.out"
sed -i 's/columns: \[id, name\]/columns: [id, name, ssn]/' "$work/resources/shop.yaml"
curl -sS --unix-socket "$work/sidecar.sock" -X POST http://sidecar/reload >/dev/null
echo "SELECT ssn FROM customers LIMIT 1;" >&9
exec 9>&-
wait "$live"
sed 's/^/     /' "$work/live.out"
grep -q '^123-45-6789$' "$work/live.out" || fail "the new policy should have counted"

step "kill -9 of the sidecar loses no record" "The sidecar is killed and started again; what it recorded comes after it."
kill -9 "$sidecar"
wait "$sidecar" 2>/dev/null || true
start_sidecar
wait_for psql -qc 'SELECT 1'
sleep 1
show "kubectl chaperone audit tail --dir audit --refused"
must "$bin/kubectl-chaperone" audit tail --dir "$work/audit" --refused --last 6

step "The records can be verified, and tampering is found" "First intact; then one byte of a stored file is changed."
show "kubectl chaperone audit verify --dir audit"
must "$bin/kubectl-chaperone" audit verify --dir "$work/audit"
cp -r "$work/audit" "$work/tampered"
first=$(find "$work/tampered" -name '*.segment.jsonl' | sort | head -n 1)
sed -i '0,/DROP TABLE/s//DROP TABLA/; 0,/"number":1,/s//"number":7,/' "$first"
show "kubectl chaperone audit verify --dir tampered"
must_refuse 'altered' "$bin/kubectl-chaperone" audit verify --dir "$work/tampered"

printf '\nThat was the whole story. Its resources are in hack/story/standalone.yaml; the demo tells it on Kubernetes.\n'
