"""Commands of a build: bounded, logged, ended with their group on Ctrl-C, gone when the builder is."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from lab.errors import BringUpError, Exit, WaitTimeout
from lab.shell import end_group, tail

TIMEOUT = 5400.0


class BuildError(BringUpError):
    """A component could not be built."""

    code = Exit.BRING_UP_FAILED


class Runner:
    """Runs the commands of several builders at once; `stop` ends them all from another thread."""

    def __init__(self) -> None:
        self._running: set[subprocess.Popen[bytes]] = set()
        self._mutex = threading.Lock()
        self._stopped = False
        # util-linux; without it a killed builder's children end by themselves, holding the lock until then.
        self._prefix = ("setpriv", "--pdeathsig", "TERM", "--") if shutil.which("setpriv") else ()

    def run(
        self,
        argv: Sequence[str | Path],
        *,
        log: Path,
        lock: IO[bytes] | None = None,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        output: Path | None = None,
        timeout: float = TIMEOUT,
    ) -> None:
        """Run a command to its end.

        Args:
            argv: the command; no shell is involved.
            log: gains what it says.
            lock: an open file it inherits, so that the lock is kept while it lives.
            env: variables added to this process's.
            cwd: where it runs.
            output: a file that gets its standard output instead of `log`.
            timeout: seconds.

        Raises:
            BuildError: it exited with something else than 0, with the end of what it said.
            WaitTimeout: `timeout` seconds passed.
        """
        words = [str(word) for word in argv]
        with log.open("ab") as sink:
            sink.write(f"$ {shlex.join(words)}\n".encode())
            sink.flush()
            begin = sink.tell()
            out = output.open("wb") if output else None
            try:
                with self._mutex:
                    self.check()
                    process = subprocess.Popen(
                        [*self._prefix, *words],
                        stdin=subprocess.DEVNULL,
                        stdout=out or sink,
                        stderr=sink,
                        env={**os.environ, "LC_ALL": "C.UTF-8", **(env or {})},
                        cwd=cwd,
                        pass_fds=(lock.fileno(),) if lock else (),
                        start_new_session=True,
                    )
                    self._running.add(process)
            finally:
                if out:
                    out.close()
        try:
            code = process.wait(timeout)
        except subprocess.TimeoutExpired:
            end_group(process)
            raise WaitTimeout(
                f"A command did not end within {timeout:g} s.",
                details=[shlex.join(words), *_said(log, begin)],
            ) from None
        finally:
            with self._mutex:
                self._running.discard(process)
        if code:
            raise BuildError(
                f"A command exited with {code}.",
                details=[shlex.join(words), *_said(log, begin)],
                fix=f"the whole output is in {log}",
            )

    def check(self) -> None:
        """Do nothing, until `stop` was called.

        Raises:
            BuildError: it was.
        """
        if self._stopped:
            raise BuildError("The build was stopped.")

    def stop(self) -> None:
        """End every command that runs and start no more."""
        with self._mutex:
            self._stopped = True
            running = list(self._running)
        for process in running:
            end_group(process, grace=10)


def said(argv: Sequence[str | Path], *, timeout: float = 60) -> str:
    """The standard output of a short command that only looks; empty if it fails or does not exist."""
    try:
        done = subprocess.run(
            [str(word) for word in argv],
            capture_output=True,
            text=True,
            timeout=timeout,
            check=True,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "LC_ALL": "C.UTF-8"},
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()


def _said(log: Path, begin: int) -> list[str]:
    with log.open("rb") as file:
        file.seek(begin)
        return tail(file.read().decode(errors="replace"))
