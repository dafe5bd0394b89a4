#!/usr/bin/env bash
# benchmarks/floor.sh [uml|podman]: the steps of `lab up` in bare shell, on the same artifacts, without Ansible and without any
# of lab's own code while the clock runs. Prints the seconds at which each step was done. The floor that `lab up` is held against.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export PATH="$here/../.tox/lab/bin:$PATH:/usr/local/sbin:/usr/sbin:/sbin"

# Processes and mounts end with their namespaces; files and control groups do not.
clean_up() {
  find /sys/fs/cgroup -depth -type d -path "*/${out##*/}*" -exec rmdir {} + 2> /dev/null || :
  rm -rf --one-file-system "$out"
}

provider=${1:-uml}
if [ "${2:-}" != inside ]; then
  out=$(mktemp -d /tmp/floor-XXXXXX)
  trap clean_up EXIT
  python "$here/floor_inputs.py" "$provider" "$out" > "$out/inputs"
  ssh-keygen -q -t ed25519 -N '' -f "$out/key"
  # The namespaces end with this script: PID 1 of them is the shell that runs the steps.
  user=()
  [ "$provider" = podman ] || user=(--user --map-root-user)
  unshare "${user[@]}" --net --pid --mount --fork --kill-child "$0" "$provider" inside "$out"
  exit
fi

out=$3
# shellcheck source=/dev/null
. "$out/inputs"
begun=${EPOCHREALTIME/./}
mount -t proc proc /proc
names=() master=''
declare -A address
for pair in $NODES; do
  names+=("${pair%=*}")
  address[${pair%=*}]=${pair#*=}
done
master=${names[0]}

step() {
  local now=${EPOCHREALTIME/./}
  printf '%6.1f s  %s\n' "$(((now - begun) / 100000))e-1" "$1"
}

bridge() {
  ip -batch - << END
link set lo up
link add lab0 type bridge
addr add $GATEWAY/$PREFIX dev lab0
link set lab0 up
END
}

links() {
  local number link
  for number in "${!names[@]}"; do
    ip -batch - << END
link add lab-vm$number type veth peer name vm$number
link set lab-vm$number master lab0 up
link set vm$number promisc on up
END
    for link in "lab-vm$number" "vm$number"; do
      ethtool --offload "$link" rx off tx off gso off gro off tso off > /dev/null 2>&1
    done
  done
}

machines_uml() {
  bridge
  links
  local number name cores
  cores=$(nproc)
  for number in "${!names[@]}"; do
    name=${names[$number]}
    mkdir -p "$out/$name/memory" "$out/$name/nothing"
    mount -t tmpfs -o "mode=700,size=$((MEMORY + 16))m" tmpfs "$out/$name/memory"
    TMPDIR="$out/$name/memory" taskset --cpu-list $((number == 0 || cores == 1 ? 0 : 1 + (number - 1) % (cores - 1))) \
      "$KERNEL" "umid=$name" "uml_dir=$out/$name/" "mem=${MEMORY}M" ncpus=1 seccomp=auto "ubd0=$out/$name/disk.cow,$DISK" \
      root=/dev/ubda rw "hostfs=$out/$name/nothing" "vec0:transport=raw,ifname=vm$number,depth=128,gro=1" con=null con0=null,fd:1 \
      quiet init=/sbin/init "lab.hostname=$name" "lab.address=${address[$name]}/$PREFIX" "lab.gateway=$GATEWAY" \
      lab.interface=vec0 "lab.ssh_key=$(base64 -w0 "$out/key.pub")" < /dev/null > "$out/$name/console" 2>&1 &
  done
}

machines_podman() {
  local number name at pid hard processes
  mount -t tmpfs -o mode=755 tmpfs /run
  mount -t tmpfs -o mode=1777 tmpfs /dev/shm
  mkdir -p /run/floor/net
  printf '[engine]\ncgroup_manager = "cgroupfs"\nevents_logger = "none"\n[network]\nnetwork_config_dir = "/run/floor/net"\n' \
    > /run/floor/containers.conf
  printf '[storage]\ndriver = "overlay"\nrunroot = "/run/containers/storage"\ngraphroot = "/run/floor/storage"\n' \
    > /run/floor/storage.conf
  export CONTAINERS_CONF=/run/floor/containers.conf CONTAINERS_STORAGE_CONF=/run/floor/storage.conf
  bridge
  hard=$(ulimit -Hn)
  [ "$hard" != unlimited ] || hard=1048576
  processes=$(ulimit -Hu)
  [ "$processes" != unlimited ] || processes=1048576
  for number in "${!names[@]}"; do
    (
      name=${names[$number]} at=$out/${names[$number]}
      mkdir -p "$at"/{upper,work,root}
      cp --archive --link "$TREE/var/lib/containerd" "$at/containerd"
      find "$at/containerd" -name '*.db' -not -path '*/snapshots/*' -exec sh -c 'cp -p "$1" "$1.copy" && mv "$1.copy" "$1"' - {} \;
      mount -t overlay -o "lowerdir=$TREE,upperdir=$at/upper,workdir=$at/work" overlay "$at/root"
      (umask 077 && mkdir -p "$at/root/root/.ssh")
      cat "$out/key.pub" > "$at/root/root/.ssh/authorized_keys"
      install -m 755 "$here/../lab/providers/podman_init.sh" "$at/root/usr/local/sbin/podman-init"
      printf '127.0.0.1 localhost\n%s %s\n' "${address[$name]}" "$name" > "$at/root/etc/hosts"
      # Without one kubelet makes no pod.
      echo "nameserver $GATEWAY" > "$at/root/etc/resolv.conf"
      podman --log-level error --runtime "$(runtime)" run --detach --name "$name" --hostname "$name" --no-hosts --network none \
        --privileged --systemd always --cgroupns private --cgroup-parent "/${out##*/}" --memory "${MEMORY}m" --pids-limit -1 \
        --ulimit "nofile=$hard:$hard" --ulimit "nproc=$processes:$processes" --tmpfs /tmp --tmpfs /run --volume "$at/containerd:/var/lib/containerd" \
        --rootfs "$at/root" /usr/local/sbin/podman-init > /dev/null
      pid=$(podman inspect --format '{{.State.Pid}}' "$name")
      ip link add "lab-vm$number" type veth peer name eth0 netns "$pid"
      ip link set "lab-vm$number" master lab0 up
      nsenter --target "$pid" --net -- ip -batch - << END
link set lo up
address replace ${address[$name]}/$PREFIX dev eth0
link set eth0 up
route replace default via $GATEWAY dev eth0
END
    ) &
  done
  wait
}

runtime() {
  if [ -e /sys/fs/cgroup/cgroup.controllers ] && command -v crun > /dev/null; then echo crun; else echo runc; fi
}

on() {
  local node=$1
  shift
  ssh -F none -i "$out/key" -l root -o BatchMode=yes -o ConnectTimeout=5 -o LogLevel=ERROR -o StrictHostKeyChecking=no \
    -o UserKnownHostsFile=/dev/null -o ControlMaster=auto -o ControlPersist=300 -o "ControlPath=$out/ssh-$node" \
    "${address[$node]}" "$@"
}

# Runs a function once for each of the nodes given, side by side; fails if one of them does.
side_by_side() {
  local what=$1 pids=() node
  shift
  for node in "$@"; do
    "$what" "$node" &
    pids+=($!)
  done
  for node in "${pids[@]}"; do wait "$node"; done
}

answers_ssh() {
  local end=$((SECONDS + 120)) said
  until said=$(on "$1" true 2>&1); do
    if ((SECONDS > end)); then
      echo "$1 did not let us in by ssh within 120 s: $said" >&2
      tail -n 5 "$out/$1/console" >&2
      return 1
    fi
    sleep 0.1
  done
}

join() {
  sed "s/@CA_HASH@/$hash/" "$out/$1.yaml" | on "$1" cluster-member join 300 "$hash" "${address[$master]}:6443" > "$out/$1.log" 2>&1
}

asks_mytest() {
  local end=$((SECONDS + 120))
  until on "$1" curl -sS -m 5 "http://$service/" 2> /dev/null | grep -q 'Hello Kubernetes bootcamp!'; do
    ((SECONDS < end)) || return 1
    sleep 0.5
  done
}

kubectl() { on "$master" kubectl --kubeconfig=/etc/kubernetes/admin.conf "$@"; }

"machines_$provider"
step 'machines started'
side_by_side answers_ssh "${names[@]}"
step 'ssh open on every node'
hash=$(on "$master" cluster-member identity 300 < "$out/$master.yaml" 2> "$out/identity.log")
step "the cluster's CA made"
side_by_side join "${names[@]:1}" &
joins=$!
on "$master" cluster-member init 300 > "$out/$master.log" 2>&1
step 'kubeadm init'
kubectl apply --filename=- < "$out/objects.yaml" > /dev/null
step 'network and mytest created'
wait "$joins"
step 'every node joined'
kubectl wait --for=condition=Ready node --all --timeout=180s > /dev/null
step 'every node Ready'
kubectl rollout status deployment/mytest --timeout=180s > /dev/null
kubectl --namespace=kube-system rollout status deployment/coredns --timeout=180s > /dev/null
step 'mytest and CoreDNS Ready'
service=$(kubectl get service/mytest-svc '--output=jsonpath={.spec.clusterIP}')
side_by_side asks_mytest "${names[@]}"
step 'mytest answers every node'
