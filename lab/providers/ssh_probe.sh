#!/bin/sh
# Reads what the preflight wants to know of a machine, and changes nothing. `@@@ NAME` begins an answer; a command that is
# not there leaves its answer empty. Needs nothing but a POSIX shell and the tools that every Debian has. The patterns of
# options and modules come first: they are set by whoever sends this script.
: "${modules:=}" "${options:=}"

say() { echo "@@@ $1"; }
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
as_root=''
if [ "$(id -u)" != 0 ]; then as_root='sudo -n'; fi

say time && date +%s.%N
say user && id -un && id -u
say sudo && if [ -n "$as_root" ]; then { $as_root true && echo yes; } 2>&1 | tail -n 1; fi
say system && cat /etc/os-release
say machine && uname -m
say name && uname -n
say machine-id && cat /etc/machine-id
say boot-id && cat /proc/sys/kernel/random/boot_id
say init && if [ -d /run/systemd/system ]; then echo systemd; else cat /proc/1/comm; fi
say python && python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])'
say apt && command -v apt-get
say swap && sed 1d /proc/swaps
say memory && sed -n 's/^MemTotal: *\([0-9]*\) kB/\1/p' /proc/meminfo
say disk && df -Pk /var/lib | sed 1d
say ports && cat /proc/net/tcp /proc/net/tcp6
say udp && cat /proc/net/udp /proc/net/udp6
say addresses && { ip -o -4 address show || hostname -I; }
say controllers && if [ -e /sys/fs/cgroup/cgroup.controllers ]; then cat /sys/fs/cgroup/cgroup.controllers; else awk '$4 == 1 { print $1 }' /proc/cgroups; fi
say firewalls && for unit in ufw firewalld; do systemctl is-active --quiet "$unit" && echo "$unit"; done
say owner && cat /etc/kube-service-lab/owner
say kubernetes && for path in /etc/kubernetes /var/lib/kubelet /var/lib/etcd /etc/cni /opt/cni /root/.kube /etc/containerd \
  /var/lib/containerd /etc/kube-service-lab; do
  # Where this user may not look, root may.
  if [ -e "$path" ] || [ -L "$path" ] || { [ -n "$as_root" ] && $as_root test -e "$path"; }; then echo "$path"; fi
done
say programs && for program in kubeadm kubelet kubectl containerd runc ctr prober; do
  if [ -e "/usr/local/bin/$program" ]; then echo "/usr/local/bin/$program"; fi
done
say runtimes && for unit in containerd docker crio k3s k3s-agent rke2-server rke2-agent snap.microk8s.daemon-kubelite; do
  # Another lab's is part of its Kubernetes.
  if text=$(systemctl cat "$unit.service") && ! echo "$text" | grep -q 'Written by kube-service-lab'; then echo "$unit"; fi
done
say ipvs && grep -cE '^(TCP|UDP|SCTP|FWM) ' /proc/net/ip_vs
say release && uname -r
say loaded && { ls /sys/module; cut -d ' ' -f 1 /proc/modules; }
say modules && cat "/lib/modules/$(uname -r)/modules.builtin" "/lib/modules/$(uname -r)/modules.dep" |
  sed 's/:.*//; s|.*/||; s/\.ko.*//; s/-/_/g' | grep -xE "$modules"
say options && { zcat /proc/config.gz || cat "/boot/config-$(uname -r)"; } | grep -E "^CONFIG_($options)=[ym]$"
say filesystems && cat /proc/filesystems
say end
