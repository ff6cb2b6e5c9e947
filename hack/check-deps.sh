#!/bin/bash
# Enforces the table of ARCHITECTURE.md: who may import whom, and what pure crates may not contain.
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
cd "$root"
bad=0

# ours CRATE: what it imports of ours
ours() {
  cargo metadata --format-version 1 --no-deps --locked |
    jq -r --arg n "chaperone-$1" '.packages[] | select(.name == $n) | .dependencies[] | select(.kind == null) | .name | select(startswith("chaperone-")) | sub("chaperone-"; "")' | sort -u
}

allow() { # allow CRATE ALLOWED...
  local crate=$1 dependency
  shift
  for dependency in $(ours "$crate"); do
    if [[ " $* " != *" $dependency "* ]]; then
      echo "$crate may not import $dependency"
      bad=1
    fi
  done
}

allow api
allow policy
allow compile api policy
allow sql policy
allow wire
allow audit
allow channel policy audit
allow operator api compile policy audit channel
allow sidecar wire sql policy audit channel api compile
allow cli api compile policy sql audit channel
allow e2e api audit

tree() { cargo tree --quiet --locked --edges normal --prefix none --package "chaperone-$1" | awk '{print $1}' | sort -u; }

forbid() { # forbid CRATE FORBIDDEN...: anywhere in its tree
  local crate=$1 found name
  shift
  found=$(tree "$crate")
  for name; do
    if grep -qx "$name" <<<"$found"; then
      echo "$crate may not contain $name: cargo tree -p chaperone-$crate -i $name"
      bad=1
    fi
  done
}

for crate in policy compile sql wire audit; do forbid "$crate" tokio hyper tracing kube kube-client rand; done
forbid api tokio hyper tracing kube kube-client
forbid sidecar kube kube-client reqwest
forbid operator chaperone-wire chaperone-sql
for crate in operator sidecar cli; do forbid "$crate" ring openssl openssl-sys native-tls; done

# In the sidecar only standalone mode sees resources.
if grep -rnE '\b(api|compile)::' sidecar/src --include='*.rs' | grep -vE '^sidecar/src/standalone(\.rs|/)'; then
  echo "only sidecar/src/standalone may use api and compile"
  bad=1
fi
# Clocks, sockets, files and environment stay out of the pure crates; their tests may read cases.
if grep -rnE 'std::(env|fs|time::(Instant|SystemTime)|net::(Tcp|Udp))|\b(Instant|SystemTime)::now' policy/src compile/src sql/src wire/src audit/src --include='*.rs' --exclude=tests.rs; then
  echo "pure crates have no clock, environment, files or sockets"
  bad=1
fi
exit "$bad"
