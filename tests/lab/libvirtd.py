"""A libvirtd for a test, where the host runs none: in namespaces of its own, ended with all that it started.

It needs root. Its network, its files and its machines are nobody else's: the host's own libvirt configuration
is read and not written, and nothing of it is left.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from lab.netns import Namespace

# Nothing of what a whole system would give it: no systemd, no polkit, no cgroups, no other user for QEMU.
QEMU_CONF = """\
user = "root"
group = "root"
dynamic_ownership = 1
remember_owner = 0
security_driver = "none"
cgroup_controllers = []
namespaces = []
stdio_handler = "file"
"""
LIBVIRTD_CONF = 'unix_sock_group = "root"\nauth_unix_rw = "none"\nauth_unix_ro = "none"\n'
START = """
set -e
at=$1
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/libvirt /run/lock
mkdir -p "$at/etc" "$at/lib/images" "$at/log" "$at/cache"
cp -a /etc/libvirt/. "$at/etc/"
rm -rf "$at/etc/qemu/networks" "$at/etc/qemu/autostart"
cp "$at/qemu.conf" "$at/libvirtd.conf" "$at/etc/"
mount --bind "$at/etc" /etc/libvirt
mount --bind "$at/lib" /var/lib/libvirt
mount --bind "$at/log" /var/log/libvirt
mount --bind "$at/cache" /var/cache/libvirt
ip link set lo up
virtlogd --daemon
libvirtd --daemon
"""
TIMEOUT = 30


def answers(prefix: tuple[str, ...] = ()) -> bool:
    """Whether there is a libvirt for the whole system."""
    if shutil.which("virsh") is None:
        return False
    asked = [*prefix, "virsh", "--connect", "qemu:///system", "uri"]
    return subprocess.run(asked, capture_output=True, timeout=TIMEOUT, check=False).returncode == 0


@contextlib.contextmanager
def system(folder: Path) -> Iterator[tuple[str, ...]]:
    """A libvirt for the whole system: the host's own, or one that lives as long as the context.

    Args:
        folder: for its files; removed by whoever made it.

    Yields:
        The argv prefix that gets a command to where it is.
    """
    if answers():
        yield ()
        return
    assert os.geteuid() == 0, "this host runs no libvirtd, and only root can start one"
    namespace = Namespace.create(folder / "libvirtd.json", user=False)
    try:
        prefix = tuple(namespace.enter("--mount"))
        (folder / "qemu.conf").write_text(QEMU_CONF)
        (folder / "libvirtd.conf").write_text(LIBVIRTD_CONF)
        with (folder / "libvirtd.log").open("wb") as log:
            start = [*prefix, "sh", "-c", START, "sh", str(folder)]
            subprocess.run(
                start, stdout=log, stderr=log, stdin=subprocess.DEVNULL, timeout=TIMEOUT, check=True
            )
        end = time.monotonic() + TIMEOUT
        while not answers(prefix):
            assert time.monotonic() < end, (folder / "libvirtd.log").read_text()
            time.sleep(0.2)
        yield prefix
    finally:
        namespace.destroy()
