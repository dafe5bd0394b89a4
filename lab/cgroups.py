"""Control groups of this host: which version it mounts, and clearing the ones a lab's containers leave."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from lab.errors import WaitTimeout

ROOT = Path("/sys/fs/cgroup")
#: What kubelet asks for (pkg/kubelet/cm of Kubernetes 1.37).
NEEDED = ("cpu", "cpuset", "memory", "pids")


def is_v2(root: Path = ROOT) -> bool:
    """Whether the host has cgroup v2 alone; otherwise it is v1, perhaps with v2 beside it (hybrid)."""
    return (root / "cgroup.controllers").is_file()


def missing_controllers(root: Path = ROOT) -> list[str]:
    """The controllers kubelet needs that are not there."""
    if is_v2(root):
        present = (root / "cgroup.controllers").read_text().split()
        return [name for name in NEEDED if name not in present]
    return [name for name in NEEDED if not (root / name).is_dir()]


def hierarchies(mounts: Path = Path("/proc/self/mounts")) -> Iterator[Path]:
    """Where each hierarchy is mounted: one on v2, one a controller on v1."""
    for line in mounts.read_text().splitlines():
        _, point, kind, *_ = line.split()
        if kind in ("cgroup", "cgroup2"):
            yield Path(point)


def weigh(group: str, processors: int) -> None:
    """Make a group that counts for so many processors when there are not enough of them for everybody.

    Otherwise all of it would count as one process does beside it (cpu.shares, cpu.weight: the kernel's
    sched-design-CFS and cgroup-v2 documents). Does nothing where the host does not let it.
    """
    for top in hierarchies():
        controllers = top / "cgroup.controllers"
        if (top / "cpu.shares").exists():
            weight = top / group / "cpu.shares", 1024 * processors
        elif controllers.exists() and "cpu" in controllers.read_text().split():
            weight = top / group / "cpu.weight", min(100 * processors, 10000)
        else:
            continue
        with contextlib.suppress(OSError):
            weight[0].parent.mkdir(exist_ok=True)
            weight[0].write_text(str(weight[1]))


def clear(group: str, *, timeout: float = 20) -> None:
    """End every process of a group and the groups below it, then remove them, in every hierarchy.

    Args:
        group: its name, directly below the root of each hierarchy.
        timeout: seconds in all.

    Raises:
        WaitTimeout: something of it is still there.
    """
    end = time.monotonic() + timeout
    while left := [top / group for top in hierarchies() if (top / group).is_dir()]:
        for top in left:
            _clear_once(top)
        if time.monotonic() > end:
            raise WaitTimeout(
                f"control groups are still in use after {timeout:.0f} s", details=map(str, left)
            )
        time.sleep(0.02)


def _clear_once(top: Path) -> None:
    for folder, _, _ in os.walk(top, topdown=False):
        with contextlib.suppress(OSError):
            for pid in map(int, (Path(folder) / "cgroup.procs").read_text().split()):
                # 0 stands for a process that this PID namespace does not see, and would mean our own group.
                if pid > 1:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(OSError):
            Path(folder).rmdir()
