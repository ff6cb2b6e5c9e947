#!/bin/bash
# pgbench, unmodified.
# shellcheck disable=SC2317 # `check` calls functions by their names
# shellcheck disable=SC2016 # $1 is PostgreSQL's
set -uo pipefail
# shellcheck source=checks.sh
. "$(dirname "$0")/checks.sh"

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

cat >"$scratch/mixed.sql" <<'SQL'
\set n random(1, 1000)
BEGIN;
INSERT INTO notes VALUES (:n, 'note');
SELECT amount FROM orders WHERE id = :n;
UPDATE notes SET body = 'changed' WHERE id = :n;
SAVEPOINT s;
DELETE FROM notes WHERE id = :n;
ROLLBACK TO s;
END;
SELECT count(*) FROM totals WHERE customer = 'c' || :n;
SQL
cat >"$scratch/pipeline.sql" <<'SQL'
\set n random(1, 1000)
\startpipeline
SELECT amount FROM orders WHERE id = :n;
SELECT customer FROM orders WHERE id = :n + 1;
\endpipeline
SQL
printf '%s\n' 'SELECT ssn FROM customers /* refused */;' >"$scratch/refused.sql"

# Every transaction went through: MODE CLIENTS TRANSACTIONS ARGUMENT...
run() {
  local mode=$1 clients=$2 each=$3 said
  shift 3
  said=$(pgbench -n -M "$mode" -c "$clients" -j 2 -t "$each" "$@" 2>&1) || { echo "$mode, $clients clients, $*: $said"; return 1; }
  contains "$said" "$((clients * each))/$((clients * each))" || { echo "$mode, $clients clients, $*"; return 1; }
  contains "$said" 'number of failed transactions: 0'
}

in_every_mode() { # in_every_mode TRANSACTIONS ARGUMENT...
  local mode clients
  for mode in simple extended prepared; do
    for clients in 1 3 8; do run "$mode" "$clients" "$@"; done
  done
}

reads() { in_every_mode 25 -S; }
reads_and_writes() { in_every_mode 10 -b tpcb-like; }
runs_a_script_of_ones_own() { in_every_mode 10 -f "$scratch/mixed.sql"; }

pipelines() {
  local mode clients
  for mode in extended prepared; do
    for clients in 1 8; do run "$mode" "$clients" 25 -f "$scratch/pipeline.sql"; done
  done
}

connects_for_each_transaction() { run simple 4 5 -C -S; }

a_refused_script_fails_as_scripts_do() {
  local said
  said=$(pgbench -n -c 2 -t 1 -f "$scratch/refused.sql" 2>&1) && return 1
  contains "$said" 'refused by policy: Select public.customers.ssn'
}

goes_on_across_policy_changes() {
  local mode=prepared changes
  (for changes in 1 2 3 4 5; do policy full; done) &
  changes=$!
  run "$mode" 4 200 -S
  wait "$changes"
}

for name in reads reads_and_writes runs_a_script_of_ones_own pipelines connects_for_each_transaction \
  a_refused_script_fails_as_scripts_do goes_on_across_policy_changes; do
  check "$name"
done
exit "$failed"
