"""Commands on several labs, a few at a time, each in a process of its own: none touches another's lab."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import sleep as pause

from lab import shell
from lab.progress import Progress, duration

JOB_TIMEOUT = 1800.0
PROCESSORS_EACH = 2
"""How many of the host's processors one bring-up keeps busy."""


@dataclass(frozen=True)
class Job:
    """`lab WORDS` for one student; what it says goes to `log`."""

    student: str
    words: tuple[str, ...]
    log: Path


@dataclass(frozen=True)
class Done:
    """How a job ended."""

    job: Job
    code: int
    seconds: float

    @property
    def ok(self) -> bool:
        """Whether it ended well."""
        return self.code == 0

    @property
    def why(self) -> str:
        """What the command said was wrong, in one line."""
        said = self.job.log.read_text(errors="replace").splitlines() if self.job.log.is_file() else []
        errors = [line.removeprefix("error: ") for line in said if line.startswith("error: ")]
        return (errors or said or [f"exit code {self.code}"])[-1]


def at_once() -> int:
    """How many bring-ups this host's processors carry at a time."""
    return max(1, len(os.sched_getaffinity(0)) // PROCESSORS_EACH)


def run(jobs: Sequence[Job], progress: Progress, *, parallel: int, cwd: Path) -> list[Done]:
    """Run every job, `parallel` of them at a time; one that fails stops no other.

    Args:
        jobs: in the order they begin.
        progress: is told of each that begins and ends.
        parallel: at most so many at a time.
        cwd: where they run: a folder without a `lab.yaml`.

    Returns:
        How each ended, in the order of `jobs`. Ended early, all that run are ended with it.
    """
    waiting, done = list(jobs), {}
    running: dict[str, tuple[Job, subprocess.Popen[bytes], float]] = {}
    try:
        while waiting or running:
            while waiting and len(running) < parallel:
                job = waiting.pop(0)
                running[job.student] = (job, _start(job, cwd), time.monotonic())
                progress.activity(", ".join(f"lab {' '.join(job.words)}" for job, *_ in running.values()))
            for student, (job, process, begun) in list(running.items()):
                code = process.poll()
                seconds = time.monotonic() - begun
                if code is None and seconds > JOB_TIMEOUT:
                    shell.end_group(process)
                    with job.log.open("a") as log:
                        log.write(f"error: it did not end within {duration(JOB_TIMEOUT)}\n")
                    code = process.returncode or 1
                if code is not None:
                    del running[student]
                    done[student] = Done(job, code, seconds)
                    word = "done" if code == 0 else f"failed: {done[student].why}"
                    progress.note(f"{student}: {word} ({duration(seconds)})")
            pause(0.2)
    finally:
        for _, process, _ in running.values():
            with contextlib.suppress(ProcessLookupError):
                process.terminate()  # as Ctrl-C: each says what it leaves
        for _, process, _ in running.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(20)
            shell.end_group(process)
    return [done[job.student] for job in jobs]


def _start(job: Job, cwd: Path) -> subprocess.Popen[bytes]:
    job.log.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with job.log.open("wb") as log:
        return subprocess.Popen(
            # When this process is killed, so are they: the next `up` starts over what is unfinished.
            shell.tethered((), [sys.executable, "-m", "lab", *job.words]),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=cwd,
            start_new_session=True,
        )
