#!/bin/bash
# Real drivers, unmodified, through a standalone sidecar before a real PostgreSQL. What they need is installed once,
# pinned by the lock files in sidecar/tests/drivers, into the cache.
#
#   drivers.sh [DRIVER...]              default: all
#   drivers.sh --install [DRIVER...]    only installs
#
# CHAPERONE_SIDECAR is the sidecar to test; one is built when it is not set. VERBOSE=1 shows every check.
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=postgres.sh
. "$root/hack/postgres.sh"
# shellcheck source=../sidecar/tests/drivers/install.sh
. "$root/sidecar/tests/drivers/install.sh"
# shellcheck source=../sidecar/tests/drivers/world.sh
. "$root/sidecar/tests/drivers/world.sh"
cd "$root"

all=(psql pgbench psycopg asyncpg node pgx jdbc sqlx)
# Whatever the drivers read through it, the sidecar never needs more memory, in MiB (unoptimised: twice that of a
# release).
rss_limit=96
# How long one driver may take, in seconds, also on a busy machine.
patience=300

only_install=
[[ ${1:-} != --install ]] || { only_install=1; shift; }
wanted=("$@")
[[ $# -gt 0 ]] || wanted=("${all[@]}")
for driver in "${wanted[@]}"; do
  [[ " ${all[*]} " == *" $driver "* ]] || fail "no driver is called \`$driver\`; these are: ${all[*]}"
done

heading "drivers"
for driver in "${wanted[@]}"; do install "$driver"; done
[[ -z $only_install ]] || exit 0

if [[ -z ${CHAPERONE_SIDECAR:-} ]]; then
  cargo build --quiet --locked -p chaperone-sidecar
  CHAPERONE_SIDECAR=$target/debug/chaperone-sidecar
fi
trap world_down EXIT
world_up "${wanted[@]}"

run() { # run DRIVER: its checks, with what it says, how it ends and how long it took kept in files
  local begun=${EPOCHREALTIME/./} code=0
  driver_command "$1"
  in_world "$1" timeout "$patience" "${command[@]}" >"$work/$1.out" 2>&1 </dev/null || code=$?
  echo "$code $(((${EPOCHREALTIME/./} - begun) / 1000))" >"$work/$1.ended"
}

started=$SECONDS
for driver in "${wanted[@]}"; do
  # Two at a time: each mostly waits for the other side.
  while (($(jobs -rp | wc -l) > 2)); do wait -n || true; done
  run "$driver" &
done
for driver in "${wanted[@]}"; do
  wait_for_file "$work/$driver.ended"
  read -r code millis <"$work/$driver.ended"
  printf '   %-8s %2d checks, %d.%d s\n' "$driver" "$(grep -c '^ok ' "$work/$driver.out" || true)" $((millis / 1000)) $((millis % 1000 / 100))
  [[ -z ${VERBOSE:-} ]] || sed 's/^/      /' "$work/$driver.out"
  if [[ $code != 0 ]]; then
    failed=1
    grep -v '^ok ' "$work/$driver.out" | sed 's/^/      /' || true
    [[ $code != 124 ]] || printf '      not done after %d s\n' "$patience"
  fi
done

arrived=$(grep -c '/\* refused \*/' "$work/postgres/log" || true)
[[ $arrived == 0 ]] || { failed=1; printf '   %d refused statements reached the server\n' "$arrived"; }
peak=$(($(awk '/^VmHWM/ {print $2}' "/proc/$sidecar/status") / 1024))
note "sidecar: $peak MiB at its peak; everything took $((SECONDS - started)) s"
((peak <= rss_limit)) || { failed=1; note "that is more than $rss_limit MiB"; }
if [[ -n ${failed:-} ]]; then
  tail -n 20 "$work/sidecar.log" >&2
  fail "not every driver works"
fi
