# shellcheck shell=bash
# Certificates and kubeconfigs of the cluster, in $K/pki and $K/*.kubeconfig. To be sourced.

key() { openssl ecparam -name prime256v1 -genkey -noout -out "$1.key" 2>/dev/null; }

authority() { # authority NAME
  key "$1"
  openssl req -x509 -new -key "$1.key" -subj "/CN=$1" -days 3650 -out "$1.crt" \
    -addext basicConstraints=critical,CA:true -addext keyUsage=critical,keyCertSign,cRLSign,digitalSignature
}

certificate() { # certificate NAME SUBJECT USAGE [NAMES [AUTHORITY]]
  local ca=${5:-ca}
  key "$1"
  openssl req -new -key "$1.key" -subj "$2" -out "$1.csr"
  {
    echo "keyUsage=critical,digitalSignature"
    echo "extendedKeyUsage=$3"
    [[ -z "${4:-}" ]] || echo "subjectAltName=$4"
  } >"$1.ext"
  openssl x509 -req -in "$1.csr" -CA "$ca.crt" -CAkey "$ca.key" -CAcreateserial -days 3650 -extfile "$1.ext" -out "$1.crt" 2>/dev/null
}

kubeconfig() { # kubeconfig USER: from $K/pki/USER.{crt,key}
  cat >"$K/$1.kubeconfig" <<YAML
apiVersion: v1
kind: Config
clusters: [{name: k, cluster: {server: "https://$API:6443", certificate-authority-data: $(base64 -w0 ca.crt)}}]
users: [{name: u, user: {client-certificate-data: $(base64 -w0 "$1.crt"), client-key-data: $(base64 -w0 "$1.key")}}]
contexts: [{name: c, context: {cluster: k, user: u}}]
current-context: c
YAML
  chmod 600 "$K/$1.kubeconfig"
}

cluster_certificates() (
  [[ ! -f $K/pki/done ]] || exit 0
  mkdir -p "$K/pki"
  cd "$K/pki" || exit
  authority ca
  authority front-ca
  openssl genrsa -out sa.key 2048 2>/dev/null
  openssl rsa -in sa.key -pubout -out sa.pub 2>/dev/null
  certificate apiserver /CN=kube-apiserver serverAuth \
    "DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:kubernetes.default.svc.cluster.local,DNS:localhost,IP:$SVC1,IP:$API,IP:127.0.0.1"
  certificate front /CN=front-proxy-client clientAuth '' front-ca
  certificate apiserver-kubelet /O=system:masters/CN=kube-apiserver-kubelet-client clientAuth
  certificate admin /O=system:masters/CN=admin clientAuth
  certificate kcm /CN=system:kube-controller-manager clientAuth
  certificate scheduler /CN=system:kube-scheduler clientAuth
  certificate proxy /CN=system:kube-proxy clientAuth
  for user in admin kcm scheduler proxy; do kubeconfig "$user"; done
  : >"$K/pki/done"
)

node_certificates() ( # node_certificates NODE
  i=$1
  [[ ! -f $K/pki/serving$i.crt ]] || exit 0
  cd "$K/pki" || exit
  certificate "node$i" "/O=system:nodes/CN=system:node:node$i" clientAuth
  kubeconfig "node$i"
  certificate "serving$i" "/O=system:nodes/CN=system:node:node$i" serverAuth "DNS:node$i,IP:$(node_ip "$i")"
)
