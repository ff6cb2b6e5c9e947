#!/bin/bash
# Lints the charts, compares what they render with tests/*/expected.yaml (UPDATE=1 rewrites), and tries values that
# must be refused.
set -euo pipefail
# shellcheck source=../hack/lib.sh
. "$(dirname "$0")/../hack/lib.sh"
cd "$root/charts"
"$root/e2e/cluster/tools.sh" helm

render() { # render CHART ARGUMENTS...
  local chart=$1
  shift
  helm template "$chart" "$chart" --namespace chaperone-system --kube-version 1.33.0 "$@"
}

heading "lint"
helm lint --quiet --strict --kube-version 1.33.0 chaperone-crds
for values in tests/*/values.yaml; do helm lint --quiet --strict --kube-version 1.33.0 chaperone --values "$values"; done

heading "what is rendered"
for values in tests/*/values.yaml; do
  expected=$(dirname "$values")/expected.yaml
  found=$(render chaperone --values "$values")
  [[ -z ${UPDATE:-} ]] || printf '%s\n' "$found" >"$expected"
  diff -u "$expected" - <<<"$found" || fail "charts/$expected differs: look at it, then run UPDATE=1 charts/test.sh"
  ! grep -n caBundle <<<"$found" || fail "caBundle belongs to the operator: with it in the chart every upgrade would wipe it"
done
note "$(find tests -name expected.yaml | wc -l) renderings are as expected"

heading "custom resource definitions"
diff -r "$root/crds" chaperone-crds/templates || fail "the chart's CRDs are not those of crds/: run make crds"
note "the chart's are those of crds/"

heading "a reason for every right"
awk '/^rules:/ {inside = 1} /^---/ {inside = 0} inside && /^- apiGroups/ && last !~ /^#/ {print FILENAME ":" FNR ": this rule has no reason"; bad = 1} {last = $0} END {exit bad}' \
  chaperone/templates/operator-rbac.yaml || fail "write a comment over the rule"
note "each rule of the operator's RBAC has one"

heading "values that are refused"
number=0
while IFS='|' read -r arguments expected; do
  [[ $arguments != '#'* ]] || continue
  read -ra arguments <<<"$arguments"
  expected=${expected# }
  if said=$(render chaperone "${arguments[@]}" 2>&1); then fail "${arguments[*]} should have been refused"; fi
  grep -qF -- "$expected" <<<"$said" || fail "${arguments[*]} should say: $expected"$'\n'"$said"
  number=$((number + 1))
done <tests/bad-values.txt
if said=$(helm template chaperone chaperone --kube-version 1.32.9 2>&1); then fail "Kubernetes 1.32 should have been refused"; fi
grep -q 'incompatible with Kubernetes v1.32.9' <<<"$said" || fail "$said"
note "$number values and Kubernetes 1.32 are refused, each with its reason"
