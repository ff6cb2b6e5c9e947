#!/bin/bash
# Format, lints, who-imports-whom, scripts.
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
cd "$root"

heading "format"
cargo fmt --all --check
heading "lints"
cargo clippy --workspace --all-targets --quiet -- -D warnings
heading "who imports whom"
hack/check-deps.sh
if command -v cargo-deny >/dev/null; then
  heading "licences, sources, banned crates"
  cargo deny --log-level error check bans licenses sources
fi
heading "scripts"
mapfile -t scripts < <(git ls-files | grep -E '\.sh$|^e2e/cluster/cluster$|^e2e/cluster/images/|^\.ci/run$')
shellcheck "${scripts[@]}"
heading "documents"
hack/check-docs.py
heading "paths of this machine"
# Nothing that is kept may depend on where it was made.
here=$(dirname "$root")/ home=$HOME/
if git grep -nIF -e "$here" -e "$home" -- . ':!*.lock' ':!*.sum'; then
  fail "these files name a path of this machine"
fi
note "all in order"
