# shellcheck shell=bash
# What the scripts of the project share. To be sourced.
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/chaperone
target=${CARGO_TARGET_DIR:-$root/target}
# Where static binaries and product images go, by profile: release, or dev while developing (made much faster).
profile=${CHAPERONE_PROFILE:-release}
triple=x86_64-unknown-linux-gnu
static=$target/$triple/${profile/#dev/debug}
images=$target/images/$profile
export PATH="$cache/bin:$HOME/.cargo/bin:$PATH:/usr/sbin:/sbin"
export root cache target profile triple static images

heading() { printf '\n\033[1m== %s\033[0m\n' "$*"; }
note() { printf '   %s\n' "$*"; }
fail() {
  printf 'error: %s\n' "$*" >&2
  exit 1
}

[[ $profile == release || $profile == dev ]] || fail "CHAPERONE_PROFILE is release or dev, not $profile"

# The content of everything that a build depends on, as one word.
fingerprint() {
  (cd "$root" && git ls-files -z --cached --others --exclude-standard -- "$@" | sort -z | xargs -0 sha256sum 2>/dev/null | sha256sum | cut -c1-12)
}

# The tag of the product's images: what the binaries contain.
image_tag() { cat "$static/chaperone-operator" "$static/chaperone-sidecar" | sha256sum | cut -c1-12; }

# Brings up the cluster that E2E_CLUSTER says, with all images in it, and sets KUBECONFIG. Sets cluster_started
# when it was not up before.
cluster_up() {
  cluster_started=
  case ${E2E_CLUSTER:-local} in
    local)
      heading "cluster"
      "$root/e2e/cluster/tools.sh"
      "$root/e2e/cluster/images.sh" test
      KUBECONFIG=$("$root/e2e/cluster/cluster" kubeconfig)
      export KUBECONFIG
      kubectl get --raw /readyz >/dev/null 2>&1 || cluster_started=1
      "$root/e2e/cluster/cluster" up
      "$root/e2e/cluster/cluster" image "$images"/*.tar
      ;;
    kind)
      heading "cluster (kind)"
      "$root/e2e/cluster/tools.sh" coredns helm
      "$root/e2e/cluster/images.sh" test
      kind get clusters | grep -qx chaperone || { kind create cluster --config "$root/kind-config.yaml" && cluster_started=1; }
      KUBECONFIG=$target/kind.kubeconfig
      export KUBECONFIG
      kind export kubeconfig --name chaperone --kubeconfig "$KUBECONFIG"
      for archive in "$cache"/images/{busybox,nettools,postgres}.tar "$images"/*.tar; do
        kind load image-archive --name chaperone "$archive"
      done
      ;;
    existing) kubectl get --raw /readyz >/dev/null || fail "E2E_CLUSTER=existing needs a KUBECONFIG that works" ;;
    *) fail "E2E_CLUSTER is local, kind or existing, not ${E2E_CLUSTER}" ;;
  esac
}

cluster_down() {
  [[ -n ${cluster_started:-} ]] || return 0
  case ${E2E_CLUSTER:-local} in
    local) "$root/e2e/cluster/cluster" down --wipe ;;
    kind) kind delete cluster --name chaperone ;;
  esac
}

# Installs both charts with the images that were built.
install_chaperone() {
  helm upgrade --install chaperone-crds "$root/charts/chaperone-crds" --namespace chaperone-system --create-namespace --wait >/dev/null
  helm upgrade --install chaperone "$root/charts/chaperone" --namespace chaperone-system --wait --timeout 120s \
    --set image.registry=chaperone.local --set image.tag="$(image_tag)" >/dev/null
}
