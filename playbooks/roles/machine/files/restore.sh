#!/bin/sh
# sh -s FOLDER: puts back what note.sh noted in FOLDER, and removes the rules, links and processes that the cluster's parts
# leave behind; prints a line for each thing done. Without the folder it removes only what is the cluster's by its name.
set -eu
before=$1

# Containers outlive containerd.
if systemctl is-active --quiet kubepods.slice; then systemctl stop kubepods.slice && echo kubepods.slice; fi
# One by one: a mount may lie in another.
awk '$2 ~ "^/(run/containerd|run/netns/cni-|var/lib/kubelet|var/lib/containerd)" { print $2 }' /proc/mounts | sort -r |
  while read -r point; do umount "$point" && echo "mount $point"; done

# All rules but those of the cluster's parts are put back as they are, in one step, their counters with them.
for family in iptables-nft ip6tables-nft iptables-legacy ip6tables-legacy; do
  command -v "$family-save" > /dev/null || continue
  case $family in *-legacy) grep -qs . "/proc/net/${family%%tables*}_tables_names" || continue ;; esac
  saved=$("$family-save" -c 2> /dev/null) || continue
  kept=$(echo "$saved" | grep -vE '^:(KUBE|FLANNEL|CNI)-|-[AjgI] (KUBE|FLANNEL|CNI)-') || :
  if [ "$kept" != "$saved" ]; then
    echo "$kept" | "$family-restore" -c
    echo "rules of $family"
  fi
done

# Tables that were not there before, and in which there is nothing: iptables makes them when it is asked anything.
nothing='table .*|#.*|(chain|set|map) .*|type .* policy accept;|}|'
if command -v nft > /dev/null; then
  nft list tables | while read -r table; do
    if grep -qsxF "$table" "$before/nft-tables"; then continue; fi
    if ! nft "list $table" | sed 's/^[[:space:]]*//' | grep -qvxE "$nothing"; then
      nft "delete $table" && echo "$table"
    fi
  done
fi

for link in cni0 flannel.1 kube-ipvs0; do
  if [ -e "/sys/class/net/$link" ]; then ip link delete "$link" && echo "link $link"; fi
done
# The module brings it; it is nobody's.
if [ -e /sys/class/net/dummy0 ] && [ -e "$before/links" ] && ! grep -qxF dummy0 "$before/links"; then
  ip link delete dummy0 && echo "link dummy0"
fi

if [ -e "$before/settings" ]; then
  while IFS='=' read -r file value; do
    if now=$(cat "$file" 2> /dev/null) && [ "$now" != "$value" ] && echo "$value" 2> /dev/null > "$file"; then
      echo "$file"
    fi
  done < "$before/settings"
fi

# Folders that were not there before, and in which there is nothing: of the CNI plugins, of containerd, of kube-proxy's pod.
if [ -e "$before/folders" ]; then
  for folder in /run/netns /run/nri /lib/modules; do
    if [ ! -d "$folder" ] || grep -qxF "$folder" "$before/folders"; then continue; fi
    rm -f "$folder/nri.sock"
    if rmdir "$folder" 2> /dev/null; then echo "folder $folder"; fi
  done
fi
