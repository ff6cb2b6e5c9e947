#!/bin/bash
# Everything that must hold. Stops at the first part that fails.
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
cd "$root"
started=$SECONDS

part() { # part NAME COMMAND...
  local name=$1 begun=$SECONDS
  shift
  "$@"
  printf '   %s: %d s\n' "$name" $((SECONDS - begun))
}

part check hack/check.sh
heading "unit and protocol tests"
part unit cargo test --workspace --exclude chaperone-e2e --locked
# With the sidecar that was just built for its own tests.
CHAPERONE_SIDECAR=$target/debug/chaperone-sidecar part drivers hack/drivers.sh
heading "charts"
part chart charts/test.sh
part binaries hack/binaries.sh
part images hack/images.sh
part end-to-end hack/e2e.sh
printf '\nall tests passed in %d s\n' $((SECONDS - started))
