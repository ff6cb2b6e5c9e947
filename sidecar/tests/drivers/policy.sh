#!/bin/bash
# policy.sh full|less: puts these rules in force for the driver whose checks run. Returns once live sessions
# decide by them.
set -euo pipefail
here=$(dirname "$0")
: "${CHAPERONE_RESOURCES:?the driver\'s file of resources}" "${PGDATABASE:?}" "${PGPORT:?}" "${SERVER_PORT:?}" "${SERVER_PASSWORD:?}"
{
  sed -e "s/@DRIVER@/$PGDATABASE/g; s/@PORT@/$SERVER_PORT/; s/@AGENT_PORT@/$PGPORT/; s/@PASSWORD@/$SERVER_PASSWORD/" "$here/resources.yaml"
  cat "$here/rules-$1.yaml"
} >"$CHAPERONE_RESOURCES.new"
mv "$CHAPERONE_RESOURCES.new" "$CHAPERONE_RESOURCES"
# Before the sidecar is there, it has nothing to be told.
[[ ! -S ${CHAPERONE_SOCKET:-} ]] || curl -sSf --unix-socket "$CHAPERONE_SOCKET" -X POST http://sidecar/reload >/dev/null
