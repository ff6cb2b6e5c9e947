#!/bin/bash
# Figures of the sidecar, side by side with HAProxy, PgBouncer and no proxy at all. BENCH_ROUNDS (5),
# BENCH_SECONDS (3) and the other settings of `bench --help` may be set; BENCH_SIDECAR takes a binary that is there.
set -euo pipefail
# shellcheck source=../hack/lib.sh
. "$(dirname "$0")/../hack/lib.sh"
cd "$root"
if [[ -z ${BENCH_SIDECAR:-} ]]; then
  hack/binaries.sh
  hack/images.sh
  export BENCH_SIDECAR=$static/chaperone-sidecar BENCH_IMAGE=$images/chaperone-sidecar.tar
fi
cargo build --quiet --locked -p chaperone-bench
"$target/debug/chaperone-bench" "$@"
