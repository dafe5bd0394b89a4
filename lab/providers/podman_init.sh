#!/bin/sh
# What a node container does before it becomes systemd.
set -u

mount --make-rshared / # as systemd does on a machine; kubelet counts on it

# On a cgroup v1 host podman binds the host's name=systemd hierarchy over the container's own: all nodes' systemds
# would share it.
hierarchy=/sys/fs/cgroup/systemd
while [ "$(awk -v at=$hierarchy '$5 == at' /proc/self/mountinfo | wc -l)" -gt 1 ]; do
  umount -l $hierarchy || break
done

[ -e /dev/kmsg ] || ln -s /dev/console /dev/kmsg # kubelet insists on one

# These are the host's own, not a container's: kubelet finds what it wants in them, and the host keeps what it has.
mkdir -p /run/lab-sysctl /etc/sysctl.d
for pair in vm/overcommit_memory=1 vm/panic_on_oom=0 kernel/panic=10 kernel/panic_on_oops=1 \
  kernel/keys/root_maxkeys=1000000 kernel/keys/root_maxbytes=25000000; do
  name=${pair%=*}
  copy=/run/lab-sysctl/${name##*/}
  [ -e "/proc/sys/$name" ] && echo "${pair#*=}" > "$copy" && mount --bind "$copy" "/proc/sys/$name"
done
# systemd raises these as far as they go, for the whole host.
for name in fs/file-max fs/nr_open; do
  copy=/run/lab-sysctl/${name##*/}
  cat "/proc/sys/$name" > "$copy" && mount --bind "$copy" "/proc/sys/$name"
done
for file in /usr/lib/sysctl.d/*.conf; do ln -sf /dev/null "/etc/sysctl.d/${file##*/}"; done

# Nor are the host's terminals and devices a container's business.
for unit in getty@ systemd-udevd systemd-udev-trigger; do
  ln -sf /dev/null "/etc/systemd/system/$unit.service"
done

exec /sbin/init
