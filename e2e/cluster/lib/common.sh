# shellcheck shell=bash
# What all scripts of the cluster share. To be sourced.
#
#   K       state of the cluster          BIN     binaries (tools.sh)
#   IMAGES  image archives (images.sh)    NAME    prefix of bridge and cgroups
#   NET     all addresses lie in 10.NET.0.0/16, so that several clusters can stand side by side
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/chaperone
K=${K:-${TMPDIR:-/tmp}/chaperone-cluster}
BIN=${BIN:-$CACHE/bin}
IMAGES=${IMAGES:-$CACHE/images}
NAME=${NAME:-chap}
NET=${NET:-97}
PROXY=${PROXY:-iptables}
HOSTIP=10.$NET.0.1
API=10.$NET.0.2
PODCIDR=10.$NET.128.0/18
SVCNET=10.$NET.192.0/18
SVC1=10.$NET.192.1
DNSIP=10.$NET.192.10
export HERE K BIN IMAGES NAME NET PROXY HOSTIP API PODCIDR SVCNET SVC1 DNSIP

say() { printf '%s\n' "cluster: $*" >&2; }

die() {
  say "$*"
  exit 1
}

# until_ok TENTHS WHAT COMMAND...: waits for COMMAND to succeed, or says that WHAT did not happen. COMMAND may be a
# function that sees its caller's variables: the names here must not be among them.
until_ok() {
  local until_left=$1 until_what=$2 until_all=$1
  shift 2
  for (( ; until_left > 0; until_left--)); do
    "$@" >/dev/null 2>&1 && return
    sleep 0.1
  done
  die "$until_what did not happen in $((until_all / 10)) s; see the logs in $K/log"
}
