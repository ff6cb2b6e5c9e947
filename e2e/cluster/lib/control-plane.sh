# shellcheck shell=bash
# etcd, API server, controller manager and scheduler, all in node 1. To be sourced.

api_is_ready() { [[ $(kubectl get --raw /readyz) == ok ]]; }

start_api() {
  daemon 1 etcd etcd --data-dir "$K/etcd" --listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379 \
    --listen-peer-urls http://127.0.0.1:2380 --unsafe-no-fsync --log-level warn
  # shellcheck disable=SC2086
  daemon 1 kube-apiserver "$BIN/kube-apiserver" --etcd-servers=http://127.0.0.1:2379 --service-cluster-ip-range="$SVCNET" \
    --advertise-address="$API" --bind-address=0.0.0.0 --secure-port=6443 --tls-cert-file="$K/pki/apiserver.crt" \
    --tls-private-key-file="$K/pki/apiserver.key" --client-ca-file="$K/pki/ca.crt" --authorization-mode=Node,RBAC \
    --enable-admission-plugins=NodeRestriction --allow-privileged=true --service-account-key-file="$K/pki/sa.pub" \
    --service-account-signing-key-file="$K/pki/sa.key" --service-account-issuer=https://kubernetes.default.svc.cluster.local \
    --kubelet-client-certificate="$K/pki/apiserver-kubelet.crt" --kubelet-client-key="$K/pki/apiserver-kubelet.key" \
    --kubelet-certificate-authority="$K/pki/ca.crt" --kubelet-preferred-address-types=InternalIP \
    --requestheader-client-ca-file="$K/pki/front-ca.crt" --requestheader-allowed-names=front-proxy-client \
    --requestheader-username-headers=X-Remote-User --requestheader-group-headers=X-Remote-Group \
    --requestheader-extra-headers-prefix=X-Remote-Extra- --proxy-client-cert-file="$K/pki/front.crt" \
    --proxy-client-key-file="$K/pki/front.key" --cert-dir="$K/apiserver-certs" ${APISERVER_EXTRA:-}
}

start_controllers() {
  # With the default limits of requests the first pod would come seconds later.
  daemon 1 kube-controller-manager "$BIN/kube-controller-manager" --kubeconfig="$K/kcm.kubeconfig" \
    --authentication-kubeconfig="$K/kcm.kubeconfig" --authorization-kubeconfig="$K/kcm.kubeconfig" --bind-address=127.0.0.1 \
    --service-account-private-key-file="$K/pki/sa.key" --root-ca-file="$K/pki/ca.crt" --cluster-signing-cert-file="$K/pki/ca.crt" \
    --cluster-signing-key-file="$K/pki/ca.key" --use-service-account-credentials=true --allocate-node-cidrs=true \
    --cluster-cidr="$PODCIDR" --service-cluster-ip-range="$SVCNET" --leader-elect=false --cert-dir="$K/kcm-certs" \
    --kube-api-qps=500 --kube-api-burst=1000 --node-monitor-grace-period=20s --node-monitor-period=2s
  daemon 1 kube-scheduler "$BIN/kube-scheduler" --kubeconfig="$K/scheduler.kubeconfig" \
    --authentication-kubeconfig="$K/scheduler.kubeconfig" --authorization-kubeconfig="$K/scheduler.kubeconfig" \
    --bind-address=127.0.0.1 --leader-elect=false
}

start_dns() {
  sed "s/CLUSTER_DNS_IP/$DNSIP/" "$HERE/manifests/coredns.yaml" | kubectl apply -f - >/dev/null
  kubectl -n kube-system rollout status deploy/coredns --timeout=60s >/dev/null
}
