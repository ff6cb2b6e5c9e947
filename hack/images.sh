#!/bin/bash
# Container images of operator and sidecar, from the static binaries. The tag is their content.
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
tag=$(image_tag)
[[ -e $images/.$tag ]] && exit 0
heading "container images"
"$root/e2e/cluster/images.sh" product "$images" "$static" "$tag"
rm -f "$images"/.[0-9a-f]*
touch "$images/.$tag"
