#!/bin/bash
# End-to-end tests on a real cluster: E2E_CLUSTER=local (default), kind or existing. Arguments choose tests by name.
# An existing cluster needs the images of e2e/cluster/images.sh; CHAPERONE_E2E_KEEP=1 keeps what failed tests made.
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
cd "$root"
heading "building the end-to-end tests"
cargo test --locked --no-run -p chaperone-e2e
trap cluster_down EXIT
cluster_up
case ${E2E_CLUSTER:-local} in
  # Pods have IPv4 alone there, and IPv6 by hand.
  local) export CHAPERONE_E2E_POD6="$root/e2e/cluster/cluster pod6" ;;
  # The API server is a container, and this machine the gateway of its network.
  kind)
    CHAPERONE_E2E_ADDRESS=$(docker network inspect kind -f '{{range .IPAM.Config}}{{.Gateway}} {{end}}' | tr ' ' '\n' | grep -m 1 -F .)
    export CHAPERONE_E2E_ADDRESS
    ;;
esac
heading "end-to-end tests"
install_chaperone
export CHAPERONE_PLUGIN=$static/kubectl-chaperone
# First what leaves the operator alone, several at once; then what takes it away, one after the other.
cargo test --locked -p chaperone-e2e --test cluster -- --test-threads 4 "$@"
cargo test --locked -p chaperone-e2e --test outage -- --test-threads 1 "$@"
