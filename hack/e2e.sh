#!/bin/bash
# End-to-end tests on a real cluster: E2E_CLUSTER=local (default), kind or existing.
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
cd "$root"
trap cluster_down EXIT
cluster_up
heading "end-to-end tests"
install_chaperone
CHAPERONE_PLUGIN=$static/kubectl-chaperone cargo test --locked -p chaperone-e2e -- --test-threads 4
