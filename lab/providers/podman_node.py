"""One node container: its disk, its first process, its limits and its place on the lab's LAN."""

from __future__ import annotations

import resource
import shutil
from dataclasses import dataclass
from ipaddress import IPv4Interface
from pathlib import Path

from lab import netns, shell
from lab.errors import BringUpError
from lab.providers.podman_engine import Container, Engine
from lab.state import write_text

CAP_SYS_RESOURCE = 24
LIMITS = {"nofile": (resource.RLIMIT_NOFILE, 1048576), "nproc": (resource.RLIMIT_NPROC, 1048576)}

# The disk and the tree are bound to short names first: a path may hold what overlay's options cannot.
DISK = """
set -e
at=/run/lab/nodes/$1
mkdir -p "$at/tree" "$at/disk" "$at/root"
if ! mountpoint -q "$at/root"; then
  mountpoint -q "$at/disk" || mount --bind "$2" "$at/disk"
  mountpoint -q "$at/tree" || mount --bind "$3" "$at/tree"
  mkdir -p "$at/disk/upper" "$at/disk/work" "$at/disk/containerd"
  mount -t overlay -o "lowerdir=$at/tree,upperdir=$at/disk/upper,workdir=$at/disk/work" overlay "$at/root"
fi
cd "$at/root"
mkdir -p -m 700 root/.ssh
printf '%s\\n' "$6" > root/.ssh/authorized_keys
chmod 600 root/.ssh/authorized_keys
install -m 755 "$7" ./usr/local/sbin/podman-init
if [ ! -e "$at/disk/named" ]; then
  rm -f etc/resolv.conf
  echo "$1" > etc/hostname
  printf '127.0.0.1 localhost\\n::1 localhost ip6-localhost ip6-loopback\\n%s %s\\n' "$4" "$1" > etc/hosts
  echo "nameserver $5" > etc/resolv.conf
  touch "$at/disk/named"
fi
"""

INIT = Path(__file__).with_name("podman_init.sh")
INIT_INSIDE = "/usr/local/sbin/podman-init"

# Done again it changes nothing. A link whose other end went with its container is gone too.
ATTACH = f"""
set -e
pid=$1 link=$2 address=$3 gateway=$4
inside() {{ nsenter --target "$pid" --net -- ip "$@"; }}
if ! inside link show eth0 >/dev/null 2>&1; then
  ip link del "$link" 2>/dev/null || :
  ip link add "$link" type veth peer name eth0 netns "$pid"
fi
ip link set "$link" master {netns.BRIDGE} up
inside -batch - <<end
link set lo up
address replace $address dev eth0
link set eth0 up
route replace default via $gateway dev eth0
end
"""


def limit(name: str) -> int:
    """The highest value of a resource limit that a node may get here.

    Without CAP_SYS_RESOURCE nobody can raise it above the hard limit of this process.
    """
    which, wanted = LIMITS[name]
    hard = resource.getrlimit(which)[1]
    capabilities = 0
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            capabilities = int(line.split()[1], 16)
    free = hard == resource.RLIM_INFINITY or bool(capabilities >> CAP_SYS_RESOURCE & 1)
    return wanted if free else min(wanted, hard)


def copy_store(engine: Engine, store: Path, into: Path) -> None:
    """Give a node its own containerd store, for it cannot lie on the overlay its root is on.

    What containerd only reads (blobs, unpacked layers) is shared with the baked tree by hard links where the
    file system allows it; its databases, which it writes in place, are copies.
    """
    if into.is_dir():
        return
    draft = into.with_name(f"{into.name}.new")
    if draft.exists():
        shutil.rmtree(draft)
    if not store.is_dir():
        draft.mkdir()
    elif store.stat().st_dev == into.parent.stat().st_dev:
        engine.run("cp", "--archive", "--link", store, draft, timeout=300)
        for file in draft.glob("*/*.db"):
            copy = file.with_name(f"{file.name}.copy")
            shutil.copy2(file, copy)
            copy.replace(file)
    else:
        engine.run("cp", "--archive", "--reflink=auto", store, draft, timeout=600)
    draft.replace(into)


@dataclass(frozen=True)
class Node:
    """A node container.

    Args:
        name: its host name.
        number: its number on the LAN, which names its link.
        address: on the LAN.
        gateway: the operator's; the default route, so that ClusterIPs have a way out of the node.
        folder: its disk: what it wrote over the tree, and containerd's store.
        memory: MiB it may use.
        cpus: its share of the host's processors against the other nodes; it may use idle ones too.
    """

    name: str
    number: int
    address: IPv4Interface
    gateway: IPv4Interface
    folder: Path
    memory: int
    cpus: int

    def start(self, engine: Engine, tree: Path, public_key: str) -> None:
        """Make its disk, if it has none, and start its container on it.

        Raises:
            BringUpError: the container could not be started.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        below = self._tree(tree)
        copy_store(engine, below / "var/lib/containerd", self.folder / "containerd")
        addresses = (str(self.address.ip), str(self.gateway.ip))
        engine.script(DISK, self.name, self.folder, below, *addresses, public_key, INIT)
        at = f"/run/lab/nodes/{self.name}"
        words = [f"--name={self.name}", f"--hostname={self.name}", "--no-hosts", "--network=none"]
        words += [
            "--privileged",
            "--systemd=always",
            "--cgroupns=private",
            f"--cgroup-parent=/{engine.group}",
        ]
        words += [f"--memory={self.memory}m", f"--cpu-shares={self.cpus * 1024}", "--pids-limit=-1"]
        words += [f"--ulimit={kind}={limit(kind)}:{limit(kind)}" for kind in LIMITS]
        words += ["--tmpfs=/tmp", "--tmpfs=/run", f"--volume={at}/disk/containerd:/var/lib/containerd"]
        engine.podman("run", "--detach", *words, "--rootfs", f"{at}/root", INIT_INSIDE)

    def attach(self, engine: Engine, container: Container | None) -> None:
        """Give its running container its place on the LAN; done again it changes nothing.

        Raises:
            BringUpError: it does not run.
        """
        if container is None or not container.running:
            said = engine.podman("logs", self.name, check=False).stdout if container else ""
            raise BringUpError(f"the container of {self.name} ended at once", details=shell.tail(said))
        words = (str(container.pid), f"lab-vm{self.number}", str(self.address), str(self.gateway.ip))
        engine.script(ATTACH, *words)

    def _tree(self, newest: Path) -> Path:
        """The tree its disk lies over: always the one it began with, for the disk holds only what differs."""
        note = self.folder / "tree"
        if not note.exists():
            write_text(note, f"{newest}\n")
        below = Path(note.read_text().rstrip("\n"))
        if not below.is_dir():
            raise BringUpError(
                f"the tree that the disk of {self.name} lies over is gone",
                details=[str(below)],
                fix="lab down, then lab up",
            )
        return below
