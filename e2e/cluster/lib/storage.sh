# shellcheck shell=bash
# A default StorageClass over directories of the nodes. There is no provisioner: a pool of volumes is made in
# advance, and `reclaim` empties those that were released. To be sourced.

VOLUMES=${VOLUMES:-8}

storage_up() {
  kubectl apply -f "$HERE/manifests/storageclass.yaml" >/dev/null
  local n
  for ((n = 1; n <= VOLUMES; n++)); do volume "$n"; done | kubectl apply -f - >/dev/null
}

volume() {
  mkdir -p "$K/volumes/$1"
  chmod 777 "$K/volumes/$1"
  cat <<YAML
---
apiVersion: v1
kind: PersistentVolume
metadata: {name: local-$1}
spec:
  storageClassName: local
  capacity: {storage: 20Gi}
  accessModes: [ReadWriteOnce]
  persistentVolumeReclaimPolicy: Retain
  hostPath: {path: "$K/volumes/$1", type: Directory}
YAML
}

storage_reclaim() {
  local name phase
  while read -r name phase; do
    [[ $phase == Released || $phase == Failed ]] || continue
    find "$K/volumes/${name#local-}" -mindepth 1 -delete
    kubectl patch pv "$name" --type=json -p '[{"op": "remove", "path": "/spec/claimRef"}]' >/dev/null
  done < <(kubectl get pv -o 'jsonpath={range .items[*]}{.metadata.name} {.status.phase}{"\n"}{end}')
}
