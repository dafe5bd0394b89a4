"""Processes of a lab's run that outlived it: found by a mark in their environment, ended by their id.

Ansible's helpers (Mitogen's, ssh's masters) make sessions of their own: ending a process group misses them.
"""

from __future__ import annotations

import os
import select
import signal
import time
from pathlib import Path

MARK = "KUBE_SERVICE_LAB_RUN"


def mark(folder: Path) -> dict[str, str]:
    """The variable that marks a run's processes: add it to their environment."""
    return {MARK: str(folder)}


def find(folder: Path) -> list[int]:
    """The ids of this user's processes that belong to a run in `folder` or below it."""
    pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    return sorted(pid for pid in pids if pid != os.getpid() and _belongs(pid, folder))


def end(folder: Path, *, timeout: float = 10) -> list[int]:
    """End every process of a run in `folder` or below it; returns their ids.

    Waits until they are gone, `timeout` seconds in all at most.
    """
    ended = find(folder)
    deadline = time.monotonic() + timeout
    for pid in ended:
        try:
            handle = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        try:
            # Looked at again through the handle's process: the id may have passed to another one meanwhile.
            if _belongs(pid, folder):
                signal.pidfd_send_signal(handle, signal.SIGKILL)
                select.select([handle], [], [], max(0.0, deadline - time.monotonic()))
        except ProcessLookupError:
            pass
        finally:
            os.close(handle)
    return ended


def _belongs(pid: int, folder: Path) -> bool:
    try:
        environment = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return False
    for entry in environment.split(b"\0"):
        key, _, value = entry.decode(errors="replace").partition("=")
        if key == MARK:
            return Path(value) == folder or folder in Path(value).parents
    return False
