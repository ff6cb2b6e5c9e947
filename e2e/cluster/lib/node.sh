# shellcheck shell=bash
# One node: namespaces of this machine with a containerd and a kubelet in them. To be sourced.
#
# A node is a private mount, network, PID and UTS namespace whose PID 1 is the static `pause` binary, which
# reaps orphans; killing it ends the whole node. Nodes hang on a bridge of this machine.

node_ip() { echo "10.$NET.0.$(($1 + 1))"; }
init_pid() { cat "$K/node$1/init.pid"; }
node_is_up() { [[ -f $K/node$1/init.pid ]] && kill -0 "$(init_pid "$1")" 2>/dev/null; }
nodes_up() {
  local i
  for i in 1 2 3 4 5 6 7 8 9; do if node_is_up "$i"; then echo "$i"; fi; done
}

in_node() { # in_node NODE COMMAND...
  local i=$1
  shift
  nsenter -t "$(init_pid "$i")" -m -n -p -u -- "$@"
}

daemon() { # daemon NODE NAME COMMAND...: starts it in the node; log in $K/log/NAME.log
  local i=$1 name=$2
  shift 2
  {
    echo "$i"
    printf '%q ' "$@"
  } >"$K/pid/$name.cmd"
  setsid nsenter -t "$(init_pid "$i")" -m -n -p -u -- "$@" >>"$K/log/$name.log" 2>&1 </dev/null &
  echo $! >"$K/pid/$name"
}

stop_daemon() { # stop_daemon NAME [SIGNAL]: what is recorded is nsenter's PID; the daemon is its child
  local pid
  pid=$(cat "$K/pid/$1")
  pkill -"${2:-TERM}" -P "$pid" || true
  while kill -0 "$pid" 2>/dev/null; do sleep 0.05; done
}

start_daemon() { # start_daemon NAME: as it was started before
  local i command
  {
    read -r i
    read -r command
  } <"$K/pid/$1.cmd"
  eval "daemon $i $1 $command"
}

cgroup_roots() { # runc writes to the hybrid /unified too
  local dir
  for dir in /sys/fs/cgroup/*/; do echo "${dir%/}"; done
}

# unshare's only child is the node's PID 1.
node_init_is_found() { pgrep -P "$(cat "$K/node$1/unshare.pid")" >"$K/node$1/init.pid"; }

node_namespaces() {
  local i=$1 home=$K/node$1 dir
  mkdir -p "$home"
  [[ -x $K/init ]] || gcc -static -Os -s -o "$K/init" "$HERE/pause.c"
  setsid unshare --mount --net --pid --uts --fork --kill-child --mount-proc --propagation private "$K/init" >/dev/null 2>&1 </dev/null &
  echo $! >"$home/unshare.pid"
  until_ok 50 "node $i's namespaces" node_init_is_found "$i"
  sleep 0.1 # until --mount-proc is done
  # shellcheck disable=SC2153 # NAME is of common.sh
  while read -r dir; do mkdir -p "$dir/$NAME$i"; done < <(cgroup_roots)
  for dir in cpus mems; do
    cat "/sys/fs/cgroup/cpuset/cpuset.$dir" >"/sys/fs/cgroup/cpuset/$NAME$i/cpuset.$dir" 2>/dev/null || true
  done
  # A sysfs of the new network namespace, cgroups bound into it, and only then shared: the other order would
  # unmount the machine's own.
  # shellcheck disable=SC2016
  in_node "$i" bash -ec '
    home=$1 i=$2
    mkdir -p "$home"/{cg,kubelet,cni-ipam,cni} "$home"/varlog/{pods,containers} /var/lib/kubelet /var/log/pods /var/log/containers /run/containerd
    mount --rbind /sys/fs/cgroup "$home/cg"; mount -t sysfs sysfs /sys; mount --rbind "$home/cg" /sys/fs/cgroup; umount -l "$home/cg"
    mount --make-rshared /
    mount -t tmpfs tmpfs /run/containerd
    mount --bind "$home/kubelet" /var/lib/kubelet
    mount --bind "$home/varlog/pods" /var/log/pods; mount --bind "$home/varlog/containers" /var/log/containers
    hostname "node$i"
    ip link set lo up; sysctl -qw net.ipv4.ip_forward=1' _ "$home" "$i"
  node_network "$i"
}

node_network() {
  local i=$1
  if [[ ! -d /sys/class/net/br-$NAME ]]; then
    ip link add "br-$NAME" type bridge
    ip addr add "$HOSTIP/17" dev "br-$NAME"
    ip link set "br-$NAME" up
    ip route replace "$SVCNET" via "$API"
  fi
  ip link add "ve$i-$NAME" master "br-$NAME" type veth peer name eth0 netns "$(init_pid "$i")"
  ip link set "ve$i-$NAME" up
  in_node "$i" ip addr add "$(node_ip "$i")/17" dev eth0
  in_node "$i" ip link set eth0 up
  in_node "$i" ip route add default via "$HOSTIP"
}

node_containerd() {
  local i=$1 home=$K/node$1
  # restrict_oom_score_adj: without CAP_SYS_RESOURCE an oom_score_adj below the daemon's own is refused.
  cat >"$home/containerd.toml" <<TOML
version = 3
root = "$home/containerd"
state = "/run/containerd"
disabled_plugins = ["io.containerd.snapshotter.v1.btrfs","io.containerd.snapshotter.v1.zfs","io.containerd.snapshotter.v1.devmapper","io.containerd.snapshotter.v1.blockfile","io.containerd.snapshotter.v1.erofs","io.containerd.internal.v1.tracing","io.containerd.tracing.processor.v1.otlp","io.containerd.nri.v1.nri"]
[grpc]
  address = "/run/containerd/containerd.sock"
[plugins."io.containerd.cri.v1.images"]
  snapshotter = "overlayfs"
  [plugins."io.containerd.cri.v1.images".pinned_images]
    sandbox = "chaperone.local/pause:1"
[plugins."io.containerd.cri.v1.runtime"]
  restrict_oom_score_adj = true
  [plugins."io.containerd.cri.v1.runtime".cni]
    bin_dirs = ["$BIN"]
    conf_dir = "$home/cni"
  [plugins."io.containerd.cri.v1.runtime".containerd]
    default_runtime_name = "runc"
    [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
        BinaryName = "$BIN/runc"
        SystemdCgroup = false
TOML
  daemon "$i" "containerd$i" containerd -c "$home/containerd.toml"
  until_ok 300 "node $i's containerd" in_node "$i" ctr version
}

import_images() { # import_images NODE ARCHIVE...: skips what the node has in this very form
  local i=$1 archive stamp
  shift
  mkdir -p "$K/node$i/images"
  for archive; do
    stamp=$K/node$i/images/$(basename "$archive").$(stat -c '%s-%Y' "$archive")
    [[ -e $stamp ]] && continue
    in_node "$i" ctr -n k8s.io images import --local "$archive" >>"$K/log/import.log" 2>&1 || die "importing $archive failed; see $K/log/import.log"
    rm -f "$K/node$i/images/$(basename "$archive")".*
    touch "$stamp"
  done
}

node_range_is_known() { kubectl get node "node$1" -o 'jsonpath={.spec.podCIDR}' >"$K/node$1/podcidr" && [[ -s $K/node$1/podcidr ]]; }

node_is_ready() {
  [[ $(kubectl get node "node$1" -o 'jsonpath={.status.conditions[?(@.type=="Ready")].status}') == True ]]
}

node_cni() { # the node's pod range comes from kube-controller-manager; CNI configuration and routes follow it
  local i=$1 home=$K/node$1 range j
  until_ok 900 "node $i's pod range" node_range_is_known "$i"
  range=$(cat "$home/podcidr")
  cat >"$home/cni/10-bridge.conflist" <<JSON
{"cniVersion":"1.0.0","name":"br","plugins":[
 {"type":"bridge","bridge":"cni0","isGateway":true,"ipMasq":false,"hairpinMode":true,
  "ipam":{"type":"host-local","dataDir":"$home/cni-ipam","ranges":[[{"subnet":"$range"}]],"routes":[{"dst":"0.0.0.0/0"}]}},
 {"type":"portmap","capabilities":{"portMappings":true},"snat":true}]}
JSON
  ip route replace "$range" via "$(node_ip "$i")"
  for j in $(nodes_up); do
    [[ $j != "$i" && -s $K/node$j/podcidr ]] || continue
    in_node "$i" ip route replace "$(cat "$K/node$j/podcidr")" via "$(node_ip "$j")"
    in_node "$j" ip route replace "$range" via "$(node_ip "$i")"
  done
}

node_kubelet() {
  local i=$1 home=$K/node$1 ip f
  ip=$(node_ip "$i")
  node_certificates "$i"
  echo 'nameserver 127.0.0.1' >"$home/resolv.conf"
  # failCgroupV1: kubelet 1.35 and newer refuse cgroup v1 without it. Images are never collected: there is no
  # registry to pull them from again.
  cat >"$home/kubelet.yaml" <<YAML
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: $ip
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: $K/pki/ca.crt}}
authorization: {mode: Webhook}
tlsCertFile: $K/pki/serving$i.crt
tlsPrivateKeyFile: $K/pki/serving$i.key
cgroupDriver: cgroupfs
cgroupRoot: /$NAME$i
failCgroupV1: false
failSwapOn: false
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
clusterDNS: [$DNSIP]
clusterDomain: cluster.local
resolvConf: $home/resolv.conf
podLogsDir: /var/log/pods
volumePluginDir: $home/kubelet/volplugins
imageGCHighThresholdPercent: 100
imageGCLowThresholdPercent: 99
evictionHard: {memory.available: "50Mi", nodefs.available: "1%", nodefs.inodesFree: "1%", imagefs.available: "1%"}
maxPods: 200
nodeStatusUpdateFrequency: 5s
YAML
  # nf_conntrack_max is read-only outside the first network namespace.
  cat >"$home/proxy.yaml" <<YAML
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: $PROXY
clientConnection: {kubeconfig: $K/proxy.kubeconfig}
clusterCIDR: $PODCIDR
hostnameOverride: node$i
bindAddress: $ip
metricsBindAddress: 127.0.0.1:10249
healthzBindAddress: 127.0.0.1:10256
nodePortAddresses: [primary]
conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
YAML
  # kubelet insists on three sysctls. They are shown to it alone, in a mount namespace of its own: the machine
  # stays as it is, and pods with `hostUsers: false` can still mount their proc.
  for f in vm/overcommit_memory=1 kernel/panic=10 kernel/panic_on_oops=1; do
    mkdir -p "$home/sysctl/${f%/*}"
    echo "${f#*=}" >"$home/sysctl/${f%=*}"
  done
  # shellcheck disable=SC2016,SC2086
  daemon "$i" "kubelet$i" unshare --mount --propagation unchanged \
    bash -ec 'mount --make-private /proc; cd "$1"; for f in */*; do mount --bind "$f" "/proc/sys/$f"; done; cd /; shift; exec "$@"' _ "$home/sysctl" \
    "$BIN/kubelet" --config="$home/kubelet.yaml" --kubeconfig="$K/node$i.kubeconfig" --root-dir=/var/lib/kubelet \
    --cert-dir="$home/kubelet-certs" --hostname-override="node$i" --node-ip="$ip" ${KUBELET_EXTRA:-}
  daemon "$i" "kube-proxy$i" "$BIN/kube-proxy" --config="$home/proxy.yaml"
  node_cni "$i"
  until_ok 600 "node $i being Ready" node_is_ready "$i"
}
