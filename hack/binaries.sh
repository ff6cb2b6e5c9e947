#!/bin/bash
# Static binaries, in the profile that CHAPERONE_PROFILE says. The explicit target keeps build scripts and macros
# out of it.
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
cd "$root"
stamp=$static/.built-$(fingerprint '*.rs' '*.toml' '*.proto' Cargo.lock sql policy wire)
if [[ -e $stamp && -x $static/chaperone-operator && -x $static/chaperone-sidecar && -x $static/kubectl-chaperone ]]; then
  exit 0
fi
heading "building static binaries, profile $profile (the first time takes some minutes)"
RUSTFLAGS="-C target-feature=+crt-static" cargo build --profile "$profile" --locked --target "$triple" \
  -p chaperone-operator -p chaperone-sidecar -p chaperone-cli
rm -f "$static"/.built-*
touch "$stamp"
