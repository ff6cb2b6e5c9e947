# shellcheck shell=bash
# How the demo and `make try` tell their story: a step, what to look at, the command, what it said. To be sourced.

number=0
step() { # step TITLE WHAT-TO-LOOK-AT
  number=$((number + 1))
  printf '\n\033[1m%d. %s\033[0m\n   \033[2m%s\033[0m\n' "$number" "$1" "$2"
}

show() { printf '   $ %s\n' "$*"; }

indent() { sed 's/^/     /'; }

wait_for() { # wait_for COMMAND...: until it succeeds
  local try
  for ((try = 0; try < 100; try++)); do
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
