#!/bin/bash
# Builds what a real Kubernetes needs from Go modules (tools/*/go.mod, pinned by go.sum) into $BIN.
# A tool is rebuilt only when its go.mod, go.sum, flags or the Go version change.
#
#   tools.sh [TOOL...]     default: everything that a cluster needs
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=lib/common.sh
. "$here/lib/common.sh"
export GOTOOLCHAIN=local GOFLAGS=-buildvcs=false
mkdir -p "$BIN"

version() { # version TOOL MODULE
  awk -v m="$2" '$1==m {print $2; exit} $1=="require" && $2==m {print $3; exit}' "$here/tools/$1/go.mod"
}

flags() { # sets LDFLAGS, TAGS and CGO_ENABLED for a tool
  LDFLAGS="-s -w" TAGS="" CGO_ENABLED=0
  case $1 in
    kubernetes)
      local v p
      v=$(version kubernetes k8s.io/kubernetes)
      for p in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
        LDFLAGS+=" -X $p.gitVersion=$v -X $p.gitMajor=1 -X $p.gitMinor=$(cut -d. -f2 <<<"$v") -X $p.gitTreeState=clean"
      done ;;
    containerd)
      LDFLAGS+=" -X github.com/containerd/containerd/v2/version.Version=$(version containerd github.com/containerd/containerd/v2)" ;;
    runc) # needs gcc and libseccomp-dev
      LDFLAGS+=" -X main.version=$(version runc github.com/opencontainers/runc) -linkmode external -extldflags=-static"
      TAGS="seccomp,netgo,osusergo" CGO_ENABLED=1 ;;
    helm)
      # `helm template` takes the newest Kubernetes from here.
      local p=helm.sh/helm/v3/pkg/chartutil
      LDFLAGS+=" -X helm.sh/helm/v3/internal/version.version=$(version helm helm.sh/helm/v3)"
      LDFLAGS+=" -X $p.k8sVersionMajor=1 -X $p.k8sVersionMinor=$(version kubernetes k8s.io/kubernetes | cut -d. -f2)" ;;
  esac
  export CGO_ENABLED
}

build() {
  local tool=$1 stamp key started=$SECONDS
  flags "$tool"
  key=$(cat "$here/tools/$tool/go.mod" "$here/tools/$tool/go.sum" <(go version) <(echo "$LDFLAGS $TAGS $CGO_ENABLED") | sha256sum | cut -c1-16)
  stamp="$BIN/.$tool-$key"
  [[ -e $stamp ]] && return
  say "building $tool from Go modules (once; kubernetes takes some minutes)"
  (cd "$here/tools/$tool" && go build -mod=readonly -trimpath -tags "$TAGS" -ldflags "$LDFLAGS" -o "$BIN/" tool)
  # etcd's binary is named after its module.
  [[ $tool != etcd ]] || mv "$BIN/server" "$BIN/etcd"
  rm -f "$BIN/.$tool-"*
  touch "$stamp"
  say "built $tool in $((SECONDS - started)) s"
}

[[ $# -gt 0 ]] || set -- kubernetes etcd containerd runc cni coredns helm
for tool; do build "$tool"; done
