#!/bin/bash
# Installs what is missing on this machine where it may, and says what is missing where it may not.
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

# Debian packages by a file that each brings. `bench` alone needs pgbouncer and haproxy.
packages=(
  gcc:/usr/bin/gcc make:/usr/bin/make git:/usr/bin/git curl:/usr/bin/curl jq:/usr/bin/jq python3:/usr/bin/python3
  openssl:/usr/bin/openssl libc6-dev:/usr/include/stdio.h libseccomp-dev:/usr/include/seccomp.h
  iproute2:/usr/bin/nstat iptables:/usr/sbin/iptables nftables:/usr/sbin/nft conntrack:/usr/sbin/conntrack
  ipset:/usr/sbin/ipset busybox-static:/bin/busybox shellcheck:/usr/bin/shellcheck procps:/usr/bin/pgrep
  postgresql:/usr/share/postgresql-common/server/postgresql.mk pgbouncer:/usr/sbin/pgbouncer haproxy:/usr/sbin/haproxy
)

missing=()
for entry in "${packages[@]}"; do
  [[ -e ${entry#*:} ]] || missing+=("${entry%%:*}")
done
# pg_query's build script reads C headers with libclang.
compgen -G '/usr/lib/llvm-*/lib/libclang.so*' >/dev/null || compgen -G '/usr/lib/llvm-*/lib/libclang-[0-9]*.so*' >/dev/null || missing+=(libclang-dev)
compgen -G '/usr/lib/llvm-*/lib/clang/*/include/stddef.h' >/dev/null || missing+=(libclang-common-"$(apt-cache show libclang-dev 2>/dev/null | sed -n 's/^Depends: libclang-\([0-9]*\)-dev.*/\1/p' | head -n 1)"-dev)
# postgresql-common brings its .mk only with the server's development files; the server itself is what counts.
compgen -G '/usr/lib/postgresql/*/bin/postgres' >/dev/null && missing=("${missing[@]/postgresql/}")
# What the driver tests run on; by command, since a machine may have them from elsewhere.
for entry in nodejs:node npm:npm maven:mvn default-jdk-headless:javac; do
  command -v "${entry#*:}" >/dev/null || missing+=("${entry%%:*}")
done
python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv)
wanted=()
for package in "${missing[@]}"; do [[ -z $package ]] || wanted+=("$package"); done

# What installs runs as root: this user, or through sudo where it asks for no password.
as_root=()
[[ $EUID -eq 0 ]] || as_root=(sudo -n)

install_packages() {
  local policy=/usr/sbin/policy-rc.d
  # No service may start because a package was installed.
  "${as_root[@]}" mkdir -p /etc/postgresql-common
  [[ -e /etc/postgresql-common/createcluster.conf ]] ||
    echo 'create_main_cluster = false' | "${as_root[@]}" tee /etc/postgresql-common/createcluster.conf >/dev/null
  if [[ ! -e $policy ]]; then
    trap '"${as_root[@]}" rm -f /usr/sbin/policy-rc.d' EXIT
    printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$policy" >/dev/null
    "${as_root[@]}" chmod +x "$policy"
  fi
  "${as_root[@]}" apt-get update -qq
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

if [[ ${#wanted[@]} -gt 0 ]]; then
  if ! command -v apt-get >/dev/null; then
    fail "these Debian packages, or their like, are missing: ${wanted[*]}"
  elif [[ $EUID -ne 0 ]] && ! sudo -n true 2>/dev/null; then
    fail "these packages are missing; as root: apt-get install ${wanted[*]}"
  fi
  heading "installing ${wanted[*]}"
  install_packages "${wanted[@]}"
fi

command -v rustup >/dev/null || fail "rustup is missing; install it from rustup.rs, then run this again"
(cd "$root" && rustup show active-toolchain >/dev/null 2>&1) || (cd "$root" && rustup toolchain install)
needed=$(awk '$1 == "go" {print $2}' "$root/e2e/cluster/tools/kubernetes/go.mod")
command -v go >/dev/null || fail "Go $needed or newer is missing; it builds the test cluster's tools"
found=$(go env GOVERSION)
[[ $(printf '%s\n' "$needed" "${found#go}" | sort -V | head -n 1) == "$needed" ]] || fail "Go $needed or newer is needed, here is ${found#go}"
