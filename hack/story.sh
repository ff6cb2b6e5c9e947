# shellcheck shell=bash
# The story that `make try` and `make demo` tell: a step, what to look at, the command, what it said. To be sourced.
#
# Whoever tells it says how things are done where it takes place:
#   agent ARGS...      psql as the agent runs it; $agent is how a person types it
#   server_saw         how many lines of the server's log have DROP TABLE; $server_saw is how a person counts them
#   allow_ssn          changes the policy in the file $policy, so that numbers may be read; returns when it is live
#   plugin ARGS...     kubectl chaperone; "${audit[@]}" says where the records are, and $audit_shown how a person says it
#   copy_records DIR   puts the stored records there
# and then calls the steps, tell_*, in order.
agent='' server_saw='' policy='' audit=() audit_shown=''

number=0
step() { # step TITLE WHAT-TO-LOOK-AT
  number=$((number + 1))
  printf '\n\033[1m%d. %s\033[0m\n   \033[2m%s\033[0m\n' "$number" "$1" "$2"
}

show() { printf '   $ %s\n' "$*"; }

indent() { sed 's/^/     /'; }

wait_for() { # wait_for COMMAND...: until it succeeds
  local try
  for ((try = 0; try < 300; try++)); do
    "$@" >/dev/null 2>&1 && return
    sleep 0.1
  done
  fail "this never succeeded: $*"
}

# Runs a command whose output is shown, and that must succeed.
must() { "$@" 2>&1 | indent; }

# Runs a command whose output is shown, and that must fail with PATTERN in what it says.
must_refuse() {
  local pattern=$1 said status=0
  shift
  said=$("$@" 2>&1) || status=$?
  indent <<<"$said"
  [[ $status -ne 0 ]] || fail "this should have been refused"
  grep -q "$pattern" <<<"$said" || fail "it should have said: $pattern"
}

tell_read() {
  step "An agent reads what the policy allows" "Plain psql, no password anywhere: the sidecar logs in upstream."
  show "$agent -c 'SELECT id, customer, amount FROM orders LIMIT 3'"
  must agent -c 'SELECT id, customer, amount FROM orders ORDER BY id LIMIT 3'
}

tell_column() {
  step "It may read names of customers, but not their social security numbers" "The refusal names the column that is missing, and how to ask for it."
  show "$agent -c 'SELECT name, ssn FROM customers'"
  must_refuse 'customers.ssn' agent -c 'SELECT name, ssn FROM customers'
}

tell_drop() {
  local count
  step "DROP TABLE is refused before it reaches the database" "The rule's own message; then the server's log, which never saw the statement."
  show "$agent -c 'DROP TABLE orders'"
  must_refuse 'ask the data team' agent -c 'DROP TABLE orders'
  show "$server_saw"
  count=$(server_saw)
  printf '     %s\n' "$count"
  [[ $count == 0 ]] || fail "the statement reached the server"
}

tell_session() {
  step "A refusal is an ordinary error: the session goes on" "The transaction is aborted as PostgreSQL does it, and rolled back; then the same session reads."
  show "$agent <<< 'BEGIN; DELETE FROM orders; SELECT 1; ROLLBACK; SELECT count(*) FROM orders'"
  must agent -qAt <<<'BEGIN; SELECT 1;
DELETE FROM orders;
SELECT 1;
ROLLBACK;
SELECT count(*) FROM orders;'
}

tell_change() { # tell_change DIR: where its files may be
  local live
  step "A changed policy counts at the next statement of a live session" "One psql session: first the column is refused, then the file is edited, then the same session reads it."
  show "edit $policy: columns: [id, name, ssn]"
  mkfifo "$1/live"
  agent -qAt <"$1/live" >"$1/live.out" 2>&1 &
  live=$!
  exec 9>"$1/live"
  echo "SELECT ssn FROM customers LIMIT 1;" >&9
  wait_for grep -q refused "$1/live.out"
  allow_ssn
  echo "SELECT ssn FROM customers LIMIT 1;" >&9
  exec 9>&-
  wait "$live"
  indent <"$1/live.out"
  grep -q '^123-45-6789$' "$1/live.out" || fail "the new policy should have counted"
}

# What was refused, as the records have it.
tell_refusals() {
  show "kubectl chaperone audit tail$audit_shown --refused"
  # The last record is on its way for a moment.
  wait_for refusals_recorded
  must refusals
}

tell_verify() { # tell_verify DIR: where its files may be
  local file
  step "The records can be verified, and tampering is found" "First intact; then one byte of a stored file is changed."
  show "kubectl chaperone audit verify$audit_shown"
  must plugin audit verify "${audit[@]}"
  copy_records "$1/tampered"
  file=$(grep -l 'DROP TABLE orders' "$1"/tampered/*.segment.jsonl | head -n 1)
  sed -i '0,/DROP TABLE orders/s//DROP TABLA orders/' "$file"
  show "kubectl chaperone audit verify --dir tampered"
  must_refuse 'altered' plugin audit verify --dir "$1/tampered"
}

refusals() { plugin audit tail "${audit[@]}" --refused --last 6; }

refusals_recorded() { refusals | grep -q 'DROP TABLE orders'; }
