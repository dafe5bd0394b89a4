"""How much of this host's memory processes really use."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path


def used(pids: Iterable[int]) -> int:
    """MiB that processes and their descendants hold: their proportional set size (proc_pid_smaps(5)), summed.

    A user-mode node's memory is a file that its process maps: it counts as far as the guest has touched it.
    What the host caches of the lab's disks does not count: it is given back when others need it.
    """
    return sum(_pss(pid) for pid in _with_descendants(pids)) // 1024


def _with_descendants(pids: Iterable[int]) -> set[int]:
    children: dict[int, list[int]] = defaultdict(list)
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                children[int(fields[1])].append(int(entry.name))
    found: set[int] = set()
    left = list(pids)
    while left:
        pid = left.pop()
        if pid not in found:
            found.add(pid)
            left += children[pid]
    return found


def _pss(pid: int) -> int:
    """KiB; 0 once the process has ended or where its memory may not be looked at."""
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1])
    except OSError:
        pass
    return 0
