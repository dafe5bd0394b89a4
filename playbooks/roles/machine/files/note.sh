#!/bin/sh
# sh -s FOLDER: notes there how this machine is. The folder appears whole or not at all.
set -eu
rm -rf "$1.new" && mkdir -p "$1.new" && cd "$1.new"

# What kubelet, kube-proxy, the CNI plugins and the playbooks set, or what setting it changes with it. Forwarding comes
# first: it sets that of every interface.
for file in /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv6/conf/all/forwarding \
  /proc/sys/net/ipv4/conf/*/rp_filter /proc/sys/net/ipv4/conf/*/forwarding /proc/sys/net/ipv4/conf/*/route_localnet \
  /proc/sys/net/ipv4/conf/*/arp_* /proc/sys/net/ipv4/vs/* /proc/sys/net/ipv6/conf/*/forwarding \
  /proc/sys/net/ipv6/conf/*/accept_ra /proc/sys/net/bridge/* /proc/sys/net/netfilter/nf_conntrack_max \
  /proc/sys/net/netfilter/nf_conntrack_*tcp* /proc/sys/net/netfilter/nf_conntrack_udp* \
  /proc/sys/vm/overcommit_memory /proc/sys/vm/panic_on_oom /proc/sys/kernel/panic /proc/sys/kernel/panic_on_oops \
  /proc/sys/kernel/keys/root_max*; do
  if value=$(cat "$file" 2> /dev/null); then echo "$file=$value"; fi
done > settings
ls /sys/class/net > links
for folder in /run/netns /run/nri /lib/modules; do
  if [ -e "$folder" ]; then echo "$folder"; fi
done > folders
if command -v nft > /dev/null; then nft list tables > nft-tables || :; fi

mv "$1.new" "$1"
