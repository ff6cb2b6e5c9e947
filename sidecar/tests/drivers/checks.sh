# shellcheck shell=bash
# What the scripts of psql and pgbench share. To be sourced.

# shellcheck disable=SC2034 # the scripts exit with it
failed=0

check() { # check NAME: runs the function of that name; its output is shown when it fails
  local name=$1 begun=${EPOCHREALTIME/./} said code
  # Not as a condition: `set -e` would not count there.
  said=$(set -e; "$name" 2>&1)
  code=$?
  if [[ $code == 0 ]]; then
    printf 'ok     %s (%d ms)\n' "$name" $(((${EPOCHREALTIME/./} - begun) / 1000))
  else
    failed=1
    printf 'FAILED %s: %s\n' "$name" "$said"
  fi
}

policy() { "$CHAPERONE_POLICY" "$1"; }

expect() { # expect WANTED FOUND
  [[ $2 == "$1" ]] || { printf 'found: %s\nwanted: %s\n' "$2" "$1" >&2; return 1; }
}

contains() { # contains TEXT PART...
  local text=$1 part
  shift
  for part in "$@"; do
    [[ $text == *"$part"* ]] || { printf 'without "%s": %s\n' "$part" "$text" >&2; return 1; }
  done
}
