"""A lock that is gone when its holder ends, however it ends; whoever is refused learns who holds it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from lab.errors import LabError


@contextlib.contextmanager
def hold(
    path: Path,
    *,
    verb: str,
    busy: Callable[[str], LabError],
    wait: float = 0.0,
    keep: Callable[[], bool] = lambda: False,
) -> Iterator[None]:
    """Hold the lock of a file; children do not inherit it.

    Args:
        path: the file.
        verb: what is being done, shown to whoever is refused.
        busy: makes the error for who is refused, from `VERB (process ID)` of the holder.
        wait: seconds to wait for the holder to end.
        keep: asked at the end whether the file stays.

    Raises:
        LabError: another process holds it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + wait
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(handle, 200).decode(errors="replace").strip() or "another command"
            os.close(handle)
            if time.monotonic() >= deadline:
                raise busy(holder) from None
            time.sleep(0.2)
            continue
        # The file is removed at the end: a lock on a file that is gone would keep nobody out.
        if path.exists() and path.stat().st_ino == os.fstat(handle).st_ino:
            break
        os.close(handle)
    try:
        os.ftruncate(handle, 0)
        os.write(handle, f"{verb} (process {os.getpid()})\n".encode())
        yield
    finally:
        if not keep():
            path.unlink(missing_ok=True)
        os.close(handle)
