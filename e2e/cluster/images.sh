#!/bin/bash
# Makes container images without a registry and without Docker, into $IMAGES/NAME.tar, named chaperone.local/NAME:TAG.
#
#   images.sh test                 pause, coredns, busybox, nettools, postgres: from this machine's packages
#   images.sh product OUT DIR TAG  chaperone-operator and chaperone-sidecar from the static binaries in DIR
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=lib/common.sh
. "$here/lib/common.sh"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

image() { # image NAME TAG ROOTFS OPTIONS...
  local name=$1 tag=$2 root=$3
  shift 3
  "$here/mkimage.py" "$root" "$out/$name.tar" "chaperone.local/$name:$tag" "$@" >&2
}

rootfs() { # rootfs DIR FILE...: busybox, users, and each FILE with the libraries that it needs
  local dir=$1 file
  shift
  mkdir -p "$dir"/{bin,sbin,etc,tmp,root,run,var/run,lib64,usr/bin,usr/sbin,lib/x86_64-linux-gnu}
  chmod 1777 "$dir/tmp" "$dir/run" "$dir/var/run"
  cp /bin/busybox "$dir/bin/"
  for file in $(/bin/busybox --list); do
    [[ $file == busybox || -e $dir/bin/$file ]] || ln -s /bin/busybox "$dir/bin/$file"
  done
  printf '%s\n' root:x:0:0::/root:/bin/sh agent:x:1000:1000::/tmp:/bin/sh postgres:x:999:999::/var/lib/postgresql:/bin/sh \
    nobody:x:65534:65534::/:/bin/sh >"$dir/etc/passwd"
  printf '%s\n' root:x:0: agent:x:1000: postgres:x:999: nogroup:x:65534: >"$dir/etc/group"
  echo 'hosts: files dns' >"$dir/etc/nsswitch.conf"
  cp -L /lib64/ld-linux-x86-64.so.2 "$dir/lib64/"
  cp -L /lib/x86_64-linux-gnu/libnss_{files,dns}.so.2 /lib/x86_64-linux-gnu/libresolv.so.2 "$dir/lib/x86_64-linux-gnu/" 2>/dev/null || true
  for file; do
    mkdir -p "$dir$(dirname "$file")"
    cp -L "$file" "$dir$file"
    libraries "$dir" "$file"
  done
}

libraries() {
  local library
  for library in $(ldd "$2" 2>/dev/null | awk '/=> \//{print $3}'); do
    cp -nL "$library" "$1/lib/x86_64-linux-gnu/" 2>/dev/null || true
  done
}

test_images() {
  local out=$IMAGES pg version stamp root
  pg=$(find /usr/lib/postgresql -mindepth 1 -maxdepth 1 -type d | sort -V | tail -n 1)
  [[ -n $pg ]] || die "PostgreSQL is not installed; run make setup"
  version=${pg##*/}
  mkdir -p "$out"
  stamp=$out/.test-$({ cat "$here/images.sh" "$here/mkimage.py" "$here"/images/*; "$pg/bin/postgres" --version; sha256sum "$BIN/coredns"; } | sha256sum | cut -c1-16)
  [[ -e $stamp ]] && return
  say "making test images"
  root=$scratch/pause
  mkdir -p "$root"
  gcc -static -Os -s -o "$root/pause" "$here/pause.c"
  image pause 1 "$root" --entrypoint '["/pause"]'
  root=$scratch/coredns
  mkdir -p "$root"
  cp "$BIN/coredns" "$root/"
  image coredns 1 "$root" --entrypoint '["/coredns"]'
  rootfs "$scratch/busybox"
  image busybox 1 "$scratch/busybox" --cmd '["sh"]'
  nettools_image
  postgres_image "$pg" "$version"
  rm -f "$out"/.test-*
  touch "$stamp"
}

nettools_image() {
  local root=$scratch/nettools name
  rootfs "$root" /usr/sbin/nft /usr/sbin/xtables-nft-multi /usr/bin/curl
  for name in iptables ip6tables; do ln -s xtables-nft-multi "$root/usr/sbin/$name"; done
  mkdir -p "$root/usr/lib/x86_64-linux-gnu" "$root/etc/ssl/certs"
  cp -a /usr/lib/x86_64-linux-gnu/xtables "$root/usr/lib/x86_64-linux-gnu/"
  image nettools 1 "$root" --cmd '["sh"]'
}

# Server, clients and contrib of this machine's PostgreSQL, with an entry point of our own.
postgres_image() {
  local root=$scratch/postgres pg=$1 version=$2 binary
  rootfs "$root" "$pg"/bin/{postgres,initdb,pg_ctl,psql,pg_dump,pgbench,pg_isready}
  mkdir -p "$root$pg/lib" "$root/usr/share/postgresql" "$root/usr/lib/locale" "$root/var/lib/postgresql"
  chmod 777 "$root/var/lib/postgresql"
  cp "$pg"/lib/*.so "$root$pg/lib/"
  rm -f "$root$pg"/lib/llvmjit*
  for binary in "$root$pg"/lib/*.so; do libraries "$root" "$binary"; done
  rm -f "$root"/lib/x86_64-linux-gnu/libLLVM*
  cp -rL "/usr/share/postgresql/$version" "$root/usr/share/postgresql/"
  cp -r /usr/lib/locale/C.utf8 "$root/usr/lib/locale/" 2>/dev/null || true
  cp -rL /usr/share/zoneinfo "$root/usr/share/"
  for binary in "$pg"/bin/{psql,pgbench,postgres,initdb,pg_ctl,pg_isready,pg_dump}; do ln -sf "$binary" "$root/usr/bin/${binary##*/}"; done
  install -m 755 "$here/images/postgres-entrypoint" "$root/usr/bin/postgres-entrypoint"
  image postgres 1 "$root" --user 999 --entrypoint '["/usr/bin/postgres-entrypoint"]' --workdir /var/lib/postgresql
}

product_images() { # product_images OUT DIR TAG
  local out=$1 dir=$2 tag=$3 name root
  mkdir -p "$out"
  for name in chaperone-operator chaperone-sidecar; do
    root=$scratch/$name
    mkdir -p "$root/etc" "$root/tmp"
    chmod 1777 "$root/tmp"
    strip -o "$root/$name" "$dir/$name"
    printf '%s\n' root:x:0:0::/:/sbin/nologin nonroot:x:65532:65532::/:/sbin/nologin >"$root/etc/passwd"
    printf '%s\n' root:x:0: nonroot:x:65532: >"$root/etc/group"
    echo 'hosts: files dns' >"$root/etc/nsswitch.conf"
    image "$name" "$tag" "$root" --user 65532 --entrypoint "[\"/$name\"]"
  done
}

case ${1:-} in
  test) test_images ;;
  product) product_images "${2:?where to}" "${3:?the binaries directory}" "${4:?tag}" ;;
  *)
    sed -n '2,5p' "$0"
    exit 2
    ;;
esac
