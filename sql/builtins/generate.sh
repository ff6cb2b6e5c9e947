#!/bin/bash
# Writes catalog.tsv from real servers of every version. What is new in it is to be reviewed: a function that
# neither harmless.txt nor refused.txt names is not harmless, and a test fails.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

mapfile -t majors < <("$here/servers.sh" --list)
first=${majors[0]} last=${majors[-1]}
for major in "${majors[@]}"; do
  echo "generate.sh: PostgreSQL $major" >&2
  "$here/dump.sh" "$major" | sed "s/^/$major\t/"
done >"$work/lines"

{
  cat <<HEAD
# What PostgreSQL $first to $last have built in, written by generate.sh. Tab-separated; a last column FIRST-LAST
# names the versions when it is not all of them; OID 0: differs from one installation to the next.
# t  type      name  OID  kind (typtype)  element  spelling
# f  function  name  argument types  result  OID  prokind, s: a set, v: variadic, !: not for PUBLIC, defaults
# o  operator  name  left  right  result  OID of its function
# c  cast      source  target  context  OID of its function
# r  relation  name  OID  relkind  column:type ...
# F and R are in information_schema, all else in pg_catalog. Domains are written as their base types.
HEAD
  awk -F'\t' -v OFS='\t' -v all="$first-$last" '
    {
      version = $1; line = substr($0, length($1) + 2)
      if (line in to && to[line] == version - 1) { to[line] = version; next }
      if (line in to) print line, from[line] "-" to[line]
      from[line] = to[line] = version
    }
    END { for (line in to) print line (from[line] "-" to[line] == all ? "" : OFS from[line] "-" to[line]) }
  ' "$work/lines" | LC_ALL=C sort
} >"$work/catalog.tsv"
mv "$work/catalog.tsv" "$here/catalog.tsv"
