"""One lab's own podman: its storage, runtime files and mounts live and die with the lab's namespaces.

It runs in the lab's network, PID and mount namespace, where /run and /dev/shm are private: so podman's
database, its locks, conmon and every mount of the nodes are the lab's alone, the host's own podman is not
touched, and ending the namespaces ends all of it at once. Only a node's disk (what it wrote over the tree,
and containerd's store) is kept in the lab's folder. So nothing of podman's can be left half-written: after
a crash a new engine starts new containers on the same disks.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from lab import cgroups, shell
from lab.host import Tool
from lab.netns import Namespace

MARK = "kube-service-lab"
PRIVATE = (Path("/run"), Path("/dev/shm"))
READY = Path("/run/lab/ready")
MOUNTS = f"""
set -e
mount -t proc proc /proc
mount -t tmpfs -o mode=755 tmpfs /run
mount -t tmpfs -o mode=1777 tmpfs /dev/shm
mkdir -p /run/lab
cat > /run/lab/containers.conf <<end
[engine]
cgroup_manager = "cgroupfs"
events_logger = "none"
[network]
network_config_dir = "/run/lab/net"
end
cat > /run/lab/storage.conf <<end
[storage]
driver = "overlay"
runroot = "/run/containers/storage"
graphroot = "/run/lab/storage"
end
touch {READY}
"""


def runtime() -> str:
    """The OCI runtime for this host: crun refuses cgroup v1 beside v2, so there it is runc."""
    if cgroups.is_v2() and Tool("crun", "crun", "").found():
        return "crun"
    return "runc"


@dataclass(frozen=True)
class Container:
    """What podman says of a node.

    Args:
        name: the node's.
        state: `running`, `exited`, …
        pid: its first process, as the lab's PID namespace counts it.
    """

    name: str
    state: str
    pid: int

    @property
    def running(self) -> bool:
        """Whether its processes run."""
        return self.state == "running"


@dataclass(frozen=True)
class Engine:
    """The podman of one lab.

    Args:
        namespace: the lab's namespaces, without a user namespace.
        group: the control group of everything it runs, a name below each root.
    """

    namespace: Namespace
    group: str

    def ready(self) -> bool:
        """Whether it can be used: its mounts are made."""
        return Path(f"/proc/{self.namespace.pid}/root{READY}").is_file()

    def start(self) -> None:
        """Make its mounts; once only in a namespace.

        Raises:
            CommandError: they could not be made.
        """
        self.script(MOUNTS)

    def run(self, *argv: str | Path, timeout: float = 60, check: bool = True) -> shell.Result:
        """Run a command in the lab's mount, network and PID namespace, as the host's root."""
        return shell.run([*self.namespace.enter("--mount"), *argv], timeout=timeout, check=check)

    def podman(self, *words: str, timeout: float = 60, check: bool = True) -> shell.Result:
        """Run a podman command of this engine."""
        conf = ("CONTAINERS_CONF=/run/lab/containers.conf", "CONTAINERS_STORAGE_CONF=/run/lab/storage.conf")
        fixed = ("podman", "--log-level", "error", "--runtime", runtime())
        return self.run("env", *conf, *fixed, *words, timeout=timeout, check=check)

    def containers(self) -> dict[str, Container]:
        """Every container of the lab by its name."""
        said = self.podman("ps", "--all", "--format=json").stdout
        found = (Container(one["Names"][0], one["State"], one["Pid"]) for one in json.loads(said or "[]"))
        return {container.name: container for container in found}

    def script(self, text: str, *words: str | Path, timeout: float = 60) -> None:
        """Run a shell script like `run`; it finds `words` as `$1` and so on."""
        self.run("sh", "-c", text, MARK, *words, timeout=timeout)

    def busy(self) -> bool:
        """Whether something still runs here for a command that was killed."""
        for process in self.namespace.processes():
            name = Path(process.argv[0]).name if process.argv else ""
            if name in ("podman", "cp") or MARK in process.argv:
                return True
        return False
