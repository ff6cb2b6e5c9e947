#!/bin/bash
# psql, unmodified.
# shellcheck disable=SC2317 # `check` calls functions by their names
# shellcheck disable=SC2016 # $1 is PostgreSQL's
set -uo pipefail
# shellcheck source=checks.sh
. "$(dirname "$0")/checks.sh"

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
version=$(psql --version | grep -oE '[0-9]+' | head -n 1)
endless='SELECT count(*) FROM orders a, orders b, orders c, orders d'
refused='SELECT name, ssn FROM customers /* refused */'

# Unaligned, stopping at errors; the script comes from arguments or standard input.
sql() { psql -XqAt -v ON_ERROR_STOP=1 "$@"; }

connects_without_a_password() {
  expect 1000 "$(sql -w -c 'SELECT count(*) FROM orders')"
}

# Everything that psql has for looking around.
describes_what_is_there() {
  local command
  for command in '\d' '\d+' '\d orders' '\d+ totals' '\d kinds' '\dS pg_class' '\da' '\dA' '\dAc' '\dAf' '\dAo' \
    '\dAp' '\db' '\dc' '\dC' '\dd' '\dD' '\ddp' '\dE' '\des' '\det' '\dew' '\df' '\df+ secret' '\dF' '\dFd' '\dFp' \
    '\dFt' '\dg' '\di' '\di+' '\dL' '\dm' '\dn' '\dn+' '\do' '\dO' '\dp' '\dP' '\drds' '\dRp' '\ds' '\dt' '\dt+' \
    '\dT' '\dT+ mood' '\du' '\dv' '\dv+' '\dx' '\dX' '\dy' '\l' '\sf secret' '\sv totals' '\z' '\conninfo' '\encoding'; do
    printf '\\echo == %s\n%s\n' "${command#?}" "$command"
  done >"$scratch/commands"
  psql -Xq -v ON_ERROR_STOP=1 <"$scratch/commands" >"$scratch/out" 2>&1 || { tail -n 5 "$scratch/out"; return 1; }
  contains "$(cat "$scratch/out")" 'customer | text' '"orders_pkey" PRIMARY KEY, btree (id)' 'You are connected to database "psql"'
  expect UTF8 "$(tail -n 1 "$scratch/out")"
}

# What could show secrets stays closed, by an ordinary refusal.
does_not_show_what_the_catalog_hides() {
  contains "$(sql -c '\deu+' 2>&1)" 'refused by policy'
  contains "$(sql -c 'SELECT rolpassword FROM pg_authid' 2>&1)" 'refused by policy'
}

writes_where_it_is_allowed() {
  expect $'1|one\nchanged' "$(sql -c "INSERT INTO notes VALUES (1, 'one') RETURNING *" -c "UPDATE notes SET body = 'changed' RETURNING body" -c 'DELETE FROM notes')"
}

a_refusal_is_an_ordinary_error() {
  local said
  said=$(psql -XAtq -v VERBOSITY=verbose <<<"$refused; SELECT 'goes on'" 2>&1)
  contains "$said" 'ERROR:  42501: refused by policy: Select public.customers.ssn' \
    'DETAIL:  no rule allows Select public.customers.ssn' \
    "HINT:  to allow it, add \`Select public.customers.ssn\` to an AccessPolicy for Connection \`drivers/psql\`" 'goes on'
  contains "$(psql -Xq <<<'DROP TABLE orders /* refused */' 2>&1)" 'ask the data team'
  contains "$(psql -Xq <<<"$refused \\errverbose" 2>&1)" 'refused by policy'
}

one_refused_statement_refuses_the_whole_string() {
  contains "$(sql -c "INSERT INTO notes VALUES (9, 'never'); DELETE FROM orders /* refused */" 2>&1)" 'refused by policy'
  expect 0 "$(sql -c 'SELECT count(*) FROM notes')"
}

transactions_are_the_servers_own() {
  local said
  said=$(psql -XAtq 2>&1 <<SQL
BEGIN;
INSERT INTO notes VALUES (1, 'kept');
SAVEPOINT s;
$refused;
SELECT 1;
ROLLBACK TO s;
SELECT body FROM notes;
ROLLBACK;
SELECT count(*) FROM notes;
SQL
  )
  contains "$said" 'refused by policy' 'current transaction is aborted' 'kept'
  expect 0 "$(tail -n 1 <<<"$said")"
  # Savepoints of psql's own.
  said=$(psql -XAtq -v ON_ERROR_ROLLBACK=on <<<"BEGIN; INSERT INTO notes VALUES (1, 'kept'); $refused; SELECT body FROM notes; ROLLBACK;" 2>&1)
  contains "$said" 'refused by policy' 'kept'
  printf '%s\n' "INSERT INTO notes VALUES (1, 'lost');" "$refused;" >"$scratch/script.sql"
  ! sql -1 -f "$scratch/script.sql" || return 1
  expect 0 "$(sql -c 'SELECT count(*) FROM notes')"
}

prepared_statements_are_decided_again_after_a_policy_change() {
  local said
  said=$(psql -XAtq 2>&1 <<SQL
PREPARE amount AS SELECT amount FROM orders WHERE id = \$1;
EXECUTE amount(4);
\\! $CHAPERONE_POLICY less
EXECUTE amount(4);
\\! $CHAPERONE_POLICY full
EXECUTE amount(6);
SQL
  )
  contains "$said" $'6.0\n' 'refused by policy: Select public.orders' '9.0'
}

commands_that_send_what_they_read() {
  expect $'id|integer\nname|text' "$(sql <<<'SELECT id, name FROM customers \gdesc')"
  contains "$(sql <<<"$refused \\gdesc" 2>&1)" 'refused by policy'
  expect 'Ann' "$(sql <<<$'SELECT name FROM customers WHERE id = 1 \\gset\n\\echo :name')"
  expect $'1\n2' "$(sql <<<"SELECT 'SELECT ' || id FROM customers ORDER BY id \\gexec")"
  contains "$(sql <<<"SELECT 'DROP TABLE orders' \\gexec" 2>&1)" 'refused by policy'
  sql <<<'SELECT id % 3, customer, amount FROM orders WHERE id < 9 \crosstabview' >/dev/null
  expect 'c7|10.5' "$(sql -v wanted=7 <<<'SELECT customer, amount FROM orders WHERE id = :wanted \g')"
  expect $'1\n2' "$(sql -v FETCH_COUNT=1 -c 'SELECT id FROM customers ORDER BY id')"
  if ((version >= 16)); then
    expect 'c8' "$(sql <<<'SELECT customer FROM orders WHERE id = $1 \bind 8 \g')"
    contains "$(sql <<<'SELECT ssn FROM customers WHERE id = $1 /* refused */ \bind 1 \g' 2>&1)" 'refused by policy'
  fi
}

watches() {
  local seen
  # It goes on until it is interrupted.
  timeout -s INT 1.5 psql -XAtq <<<'SELECT 42 AS seen \watch 0.2' >"$scratch/watched" || true
  seen=$(grep -c '^42$' "$scratch/watched")
  ((seen >= 3)) || { echo "seen $seen times"; return 1; }
}

copies_both_ways() {
  seq 1 20000 | sed 's/$/\tnote/' >"$scratch/notes.tsv"
  sql -c "\\copy notes FROM '$scratch/notes.tsv'"
  sql -c "\\copy notes TO '$scratch/out.csv' CSV HEADER"
  expect 20001 "$(wc -l <"$scratch/out.csv")"
  sql -c "\\copy (SELECT name FROM customers ORDER BY id) TO STDOUT" | diff - <(printf 'Ann\nBob\n')
  sql -c "\\copy notes (id) FROM PROGRAM 'seq 1 10'"
  printf '1\tone\n\\.\n' | sql -c 'COPY notes FROM STDIN'
  expect 20011 "$(sql -c 'SELECT count(*) FROM notes' -c 'DELETE FROM notes')"
  contains "$(sql -c "\\copy customers TO '$scratch/never.csv'" 2>&1)" 'refused by policy'
  contains "$(sql -c "\\copy orders FROM '$scratch/notes.tsv'" 2>&1)" 'refused by policy'
  contains "$(sql -c "COPY orders TO '/tmp/never'" 2>&1)" 'ERROR'
  # Data that the server rejects ends the COPY and nothing else.
  contains "$(psql -XAtq <<<$'COPY notes FROM STDIN;\nnot a number\tx\n\\.\nSELECT \'goes on\';' 2>&1)" 'invalid input syntax' 'goes on'
}

a_cancel_arrives() {
  contains "$(timeout -s INT 0.7 psql -XAtq -c "$endless" 2>&1)" 'canceling statement due to user request'
}

a_large_result_streams() {
  expect 1000000 "$(sql -c "COPY (SELECT n, repeat('x', 100) FROM generate_series(1, 1000000) n) TO STDOUT" | wc -l)"
  expect 1000000 "$(sql -v FETCH_COUNT=10000 -c "SELECT n, repeat('x', 100) FROM generate_series(1, 1000000) n" | wc -l)"
}

tls_is_spoken_where_it_is_asked_for() {
  contains "$(PGSSLMODE=require psql -XAtq -c '\conninfo' 2>&1)" 'SSL'
  expect 1000 "$(PGSSLMODE=require sql -c 'SELECT count(*) FROM orders')"
  if ((version >= 17)); then
    expect 1000 "$(PGSSLMODE=require PGSSLNEGOTIATION=direct sql -c 'SELECT count(*) FROM orders')"
  fi
  contains "$(PGSSLMODE=verify-full psql -XAtq -c 'SELECT 1' 2>&1)" 'error'
}

settings_of_the_environment_count() {
  expect '1234ms' "$(PGOPTIONS='-c statement_timeout=1234' sql -c 'SHOW statement_timeout')"
  expect 'UTC' "$(PGTZ=UTC sql -c 'SHOW timezone')"
  contains "$(PGOPTIONS='-c session_preload_libraries=x' sql -c 'SELECT 1' 2>&1)" 'session_preload_libraries'
  contains "$(PGCLIENTENCODING=LATIN1 sql -c 'SELECT 1' 2>&1)" 'LATIN1' 'UTF8'
  contains "$(psql -XAtq 'dbname=other' -c 'SELECT 1' 2>&1)" 'does not name the database'
}

dumps_what_may_be_read() {
  pg_dump --schema-only --no-owner >"$scratch/schema.sql"
  contains "$(cat "$scratch/schema.sql")" 'CREATE TABLE public.orders' 'CREATE TYPE public.mood'
  pg_dump --data-only --table=notes >"$scratch/data.sql"
  contains "$(pg_dump --data-only --table=customers 2>&1)" 'refused by policy'
}

for name in connects_without_a_password describes_what_is_there does_not_show_what_the_catalog_hides \
  writes_where_it_is_allowed a_refusal_is_an_ordinary_error one_refused_statement_refuses_the_whole_string \
  transactions_are_the_servers_own prepared_statements_are_decided_again_after_a_policy_change \
  commands_that_send_what_they_read watches copies_both_ways a_cancel_arrives a_large_result_streams \
  tls_is_spoken_where_it_is_asked_for settings_of_the_environment_count dumps_what_may_be_read; do
  check "$name"
done
exit "$failed"
