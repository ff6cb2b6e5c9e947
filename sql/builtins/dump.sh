#!/bin/bash
# Asks a real server of a major version what it has built in, and prints it.
#
#   dump.sh [--cached] MAJOR     --cached: without fetching a server; status 3 when there is none
#
# The server runs in single-user mode: no socket, no port, no daemon to leave behind.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

bin=$("$here/servers.sh" "$@")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

as=()
if [[ $(id -u) == 0 ]]; then # postgres refuses root, and others may not see into root's cache
  as=(setpriv --reuid=nobody --regid=65534 --clear-groups)
  if [[ $bin != /usr/* ]]; then
    cp -r "${bin%/bin}" "$work/server"
    bin=$work/server/bin
  fi
  chown -R nobody:65534 "$work"
fi
run() { (cd "$work" && HOME=$work "${as[@]}" "$@"); }

fail() {
  cat "$work/log" >&2
  printf 'dump.sh: %s\n' "$1" >&2
  exit 1
}

run "$bin/initdb" -D "$work/data" -U postgres -A trust --no-locale -E UTF8 -N >"$work/log" 2>&1 || fail "initdb failed"
# With -j a statement ends at a semicolon and an empty line.
sed -e '/^--/d' -e "s|:out|$work/out|" "$here/dump.sql" >"$work/sql"
run "$bin/postgres" --single -j -D "$work/data" -c exit_on_error=on postgres <"$work/sql" >"$work/log" 2>&1 \
  || fail "the server did not answer"
[[ -s $work/out ]] || fail "the server answered nothing"
cat "$work/out"
