#!/bin/bash
# The story on a real Kubernetes: E2E_CLUSTER=local (default), kind or existing. Safe to repeat; what it started it
# takes away.
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=story.sh
. "$(dirname "$0")/story.sh"
cd "$root"

work=$(mktemp -d)
forward='' installed=''
namespaces=(chaperone-demo chaperone-demo-data)
forget() { kubectl delete namespace "${namespaces[@]}" --ignore-not-found --wait=true >/dev/null; }
cleanup() {
  [[ -z $forward ]] || kill "$forward" 2>/dev/null || true
  rm -rf "$work"
  if [[ -n ${cluster_started:-} ]]; then
    heading "taking the cluster away"
    cluster_down
  elif [[ -n ${KUBECONFIG:-} ]]; then
    heading "taking away what the demo made"
    forget || true
    [[ -z $installed ]] || helm uninstall chaperone chaperone-crds --namespace chaperone-system --wait >/dev/null || true
  fi
}
trap cleanup EXIT

if [[ ${E2E_CLUSTER:-local} != existing ]]; then
  hack/binaries.sh
  hack/images.sh
fi
cluster_up

heading "Chaperone, by Helm"
helm status chaperone --namespace chaperone-system >/dev/null 2>&1 || installed=1
show "helm upgrade --install chaperone charts/chaperone --namespace chaperone-system --create-namespace"
install_chaperone
must kubectl -n chaperone-system get pods

heading "a PostgreSQL with a role \`app\` whose password no agent will know"
forget
password=$(openssl rand -hex 12)
data() { kubectl -n chaperone-demo-data "$@"; }
demo() { kubectl -n chaperone-demo "$@"; }
kubectl create namespace chaperone-demo-data --save-config >/dev/null
data create secret generic admin --from-literal=password="$(openssl rand -hex 12)" >/dev/null
{
  printf "CREATE ROLE app LOGIN PASSWORD '%s';\nCREATE DATABASE shop OWNER app;\n\\\\connect shop\nSET ROLE app;\n" "$password"
  cat hack/story/shop.sql
} | data create secret generic init --from-file=shop.sql=/dev/stdin >/dev/null
kubectl apply -f hack/story/database.yaml >/dev/null
data wait --for=condition=Ready pod/orders --timeout=120s >/dev/null

step "The data owner says who may do what" "A Connection, a policy, and the operator's right to read one Secret. An agent's pod with one annotation."
show "kubectl apply -f agent.yaml -f policy.yaml; kubectl chaperone grant orders-app --apply"
kubectl create namespace chaperone-demo --save-config >/dev/null
demo create secret generic orders-app --from-literal=username=app --from-literal=password="$password" >/dev/null
plugin() { "$static/kubectl-chaperone" "$@"; }
must plugin grant orders-app --namespace chaperone-demo --apply
kubectl apply -f hack/story/agent.yaml >/dev/null
demo apply -f hack/story/policy.yaml >/dev/null
demo wait --for=condition=Ready connection/orders-db accesspolicy/planners pod/agent --timeout=120s >/dev/null
demo wait --for=jsonpath='{.status.podsOnGeneration}'=1 accesspolicy/planners --timeout=30s >/dev/null
show "kubectl get connections,accesspolicies"
must demo get connections,accesspolicies

step "The pod got a fence and a sidecar, and its agent no password" "First the containers, in the order in which they start; then all that the agent is told."
show "kubectl get pod agent -o custom-columns=..."
must demo get pod agent -o custom-columns='INIT:.spec.initContainers[*].name,AGENT:.spec.containers[*].name,READY:.status.conditions[?(@.type=="Ready")].status'
show "kubectl exec agent -- env | grep PG"
must demo exec agent -c agent -- sh -c 'env | grep PG | sort'

agent='kubectl exec agent -- psql' server_saw="kubectl logs orders | grep -c 'DROP TABLE'" policy=policy.yaml
# A command's input ends when its standard error is closed: descriptor 3 keeps that open.
agent() { demo exec -i agent -c agent -- sh -c 'exec 3>&2; psql "$@" 2>&1' psql "$@" 2> >(grep -v '^command terminated' >&2); }
server_saw() { data logs orders | grep -c 'DROP TABLE' || true; }
allow_ssn() {
  sed 's/columns: \[id, name\]/columns: [id, name, ssn]/' hack/story/policy.yaml | demo apply -f - >/dev/null
  demo wait --for=jsonpath='{.status.observedGeneration}'=2 accesspolicy/planners --timeout=30s >/dev/null
  demo wait --for=condition=Programmed accesspolicy/planners --timeout=30s >/dev/null
}
copy_records() {
  local leader port=$((20000 + RANDOM % 10000)) name
  mkdir "$1"
  leader=$(kubectl -n chaperone-system get pod -l chaperone.dev/leader -o name | head -n 1)
  kubectl -n chaperone-system port-forward "$leader" "$port:8081" >/dev/null &
  forward=$!
  wait_for curl -sSf "http://127.0.0.1:$port/v1/segments"
  for name in $(curl -sSf "http://127.0.0.1:$port/v1/segments" | jq -r '.names[]'); do
    curl -sSf "http://127.0.0.1:$port/v1/segments/$name" -o "$1/$name"
  done
}

tell_read
tell_column
tell_drop
tell_session
tell_change "$work"

step "The password is nowhere in the agent's container" "Searched for: in every file, and in the environment of every process. Then the database itself, by its own address."
show "kubectl exec agent -- sh -c 'grep -rl PASSWORD / /proc/*/environ'"
found=$(demo exec agent -c agent -- sh -c "cat /proc/[0-9]*/environ | grep -c '[${password:0:1}]${password:1}'
  find / \\( -path /proc -o -path /sys -o -path /dev \\) -prune -o -type f -exec grep -l '[${password:0:1}]${password:1}' {} + 2>/dev/null; true")
printf '     found: %s\n' "$found"
[[ $found == 0 ]] || fail "the password was found"
address=$(data get pod orders -o jsonpath='{.status.podIP}')
show "$agent -h $address -c 'SELECT 1'"
must_refuse 'no Connection has this address' agent -h "$address" -c 'SELECT 1'

step "Everything is recorded" "Who asked, what was decided, by which rule; here only what was refused."
tell_refusals
tell_verify "$work"

printf '\nThat was the whole story. Its resources are in hack/story; docs/install.md goes on from here.\n'
