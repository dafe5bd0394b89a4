"""What a host cannot do that node containers need, each with what mends it; finding out leaves nothing."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from lab import cgroups, shell
from lab.host_kernel import HostKernel
from lab.providers.podman_engine import PRIVATE
from lab.providers.podman_node import limit

ROOT_NEEDED = "the podman provider needs root: run this with sudo, or choose provider uml, which does without"
OTHER = "choose provider uml, whose nodes have a kernel of their own"
#: The inotify instances of the master and of any other node; 27 and 13 were seen, with the cluster up.
INOTIFY = (29, 14)
OPEN_FILES = 8192
MAKE_INOTIFY = """
import ctypes, resource, sys
wanted, hard = int(sys.argv[1]), resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
make = ctypes.CDLL(None).inotify_init
print(next((number for number in range(wanted) if make() < 0), wanted))
"""


def kernel_faults(kernel: HostKernel, *, root: Path = cgroups.ROOT) -> list[str]:
    """What the host's kernel and its control groups lack whatever the lab's configuration."""
    faults = []
    if "overlay" not in kernel.filesystems and "overlay" not in kernel.modules:
        faults.append(f"this host's kernel has no overlay file system (CONFIG_OVERLAY_FS): {OTHER}")
    if kernel.has("BRIDGE_NETFILTER", "br_netfilter") is False:
        faults.append(f"this host's kernel has no br_netfilter (CONFIG_BRIDGE_NETFILTER): {OTHER}")
    missing = cgroups.missing_controllers(root)
    if missing:
        faults.append(f"control groups without {', '.join(missing)}, which kubelet needs: {OTHER}")
    return faults


def link_faults(plugin: str) -> list[str]:
    """Which links the kernel refuses, tried in a network namespace that is gone again at once."""
    if shutil.which("unshare") is None or shutil.which("ip") is None:
        return []  # reported as missing tools
    probe: Sequence[str] = ["unshare", "--net", "ip", "link", "add", "probe", "type"]
    faults = []
    for kind, option in (("bridge", "BRIDGE"), ("veth", "VETH")):
        said = shell.run([*probe, kind], timeout=20, check=False)
        if not said.ok:
            faults.append(
                f"a {kind} link cannot be made here (CONFIG_{option}; {said.stderr.strip()}): {OTHER}"
            )
    if plugin == "flannel":
        said = shell.run([*probe, "vxlan", "id", "1", "dstport", "8472"], timeout=20, check=False)
        if not said.ok:
            faults.append(
                f"a vxlan link, which network.plugin flannel needs, cannot be made here "
                f"(CONFIG_VXLAN; {said.stderr.strip()}): choose network.plugin routed, or provider uml"
            )
    return faults


def limit_faults(nodes: int, labs: int, *, sysctls: Path = Path("/proc/sys")) -> list[str]:
    """Which limits of the host, shared with all that root runs, leave too little for more such labs."""
    faults = []
    master, node = INOTIFY
    wanted = labs * (master + node * (nodes - 1))
    left = inotify_left(wanted)
    if left < wanted:
        there = int((sysctls / "fs/inotify/max_user_instances").read_text())
        faults.append(
            f"fs.inotify.max_user_instances is {there}, {left} are left, {labs * nodes} nodes need {wanted}: "
            f"sudo sysctl -w fs.inotify.max_user_instances={max(512, there + 2 * wanted)}"
        )
    if limit("nofile") < OPEN_FILES:
        faults.append(
            f"a process may open {limit('nofile')} files here, a node needs {OPEN_FILES}: "
            "raise the hard limit (ulimit -Hn)"
        )
    return faults


def inotify_left(wanted: int) -> int:
    """How many inotify instances this user can still have, `wanted` at most: so many are made and closed.

    Nobody keeps count of them where one could read it. A process of its own makes them: they are open files.
    """
    argv = [sys.executable, "-c", MAKE_INOTIFY, str(wanted)]
    return int(shell.run(argv, timeout=20).stdout)


def place_faults(*folders: Path, mounts: Path = Path("/proc/self/mounts")) -> list[str]:
    """Which folders lie where a node cannot have its disk: on an overlay, or hidden in the lab's namespaces.

    Args:
        folders: the lab's, and the cache's.
        mounts: as proc(5) writes it.
    """
    rows = [line.split() for line in mounts.read_text().splitlines()]
    points = [(Path(row[1].replace("\\040", " ")), row[2]) for row in rows]
    faults = []
    for folder in folders:
        kind = max((p for p in points if folder.is_relative_to(p[0])), key=lambda p: len(p[0].parts))[1]
        if kind in ("overlay", "fuse.fuse-overlayfs", "nfs", "nfs4"):
            faults.append(f"{folder} is on {kind}, where an overlay cannot keep what a node writes")
        if any(folder.is_relative_to(private) for private in PRIVATE):
            faults.append(f"{folder} is in a folder that a lab has of its own, so its nodes cannot see it")
    if faults:
        faults.append("set KUBE_SERVICE_LAB_STATE and KUBE_SERVICE_LAB_CACHE to folders on a local disk")
    return faults
