"""Running a command on this host: always bounded, and a failure names itself in a form that can be pasted."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from lab.errors import BringUpError, PrerequisiteError, WaitTimeout

TAIL_LINES = 25


@dataclass(frozen=True)
class Result:
    """What a command said. `seconds` is wall time; with `log=` given, `stdout` is what the log gained."""

    argv: tuple[str, ...]
    returncode: int
    stdout: str
    stderr: str
    seconds: float

    @property
    def ok(self) -> bool:
        """Whether the command exited with 0."""
        return self.returncode == 0

    @property
    def command(self) -> str:
        """The command line, quoted so that a shell takes it back."""
        return shlex.join(self.argv)


class CommandError(BringUpError):
    """A command exited with something else than 0."""

    def __init__(self, result: Result, *, what: str | None = None, fix: str | None = None) -> None:
        code = result.returncode
        ended = f"was ended by signal {-code}" if code < 0 else f"exited with {code}"
        super().__init__(
            what or f"A command failed: it {ended}.",
            details=[f"{result.command}   ({ended})", *tail(result.stderr or result.stdout)],
            fix=fix,
        )
        self.result = result


def tail(text: str, lines: int = TAIL_LINES) -> list[str]:
    """The last lines of an output, blank ones at the end left out."""
    return text.rstrip().splitlines()[-lines:]


def run(
    argv: Sequence[str | Path],
    *,
    timeout: float,
    check: bool = True,
    input: str | None = None,  # noqa: A002 -- the name subprocess uses
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    log: Path | None = None,
) -> Result:
    """Run a command to its end and return what it said.

    Args:
        argv: the command; no shell is involved.
        timeout: seconds until the command and everything in its process group is ended.
        check: raise when the exit code is not 0.
        input: text for its standard input, which is otherwise empty.
        env: variables added to those of this process.
        cwd: where it runs.
        log: a file that gains both its outputs while it runs, for long commands.

    Raises:
        CommandError: exit code not 0 and `check`.
        WaitTimeout: `timeout` seconds passed.
        PrerequisiteError: there is no such program.
    """
    words = tuple(str(word) for word in argv)
    with contextlib.ExitStack() as stack:
        sink: IO[bytes] | None = None
        offset = 0
        if log is not None:
            log.parent.mkdir(parents=True, exist_ok=True)
            sink = stack.enter_context(log.open("ab"))
            offset = sink.tell()
        begun = time.monotonic()
        try:
            # A session of its own, so that a time-out or Ctrl-C ends its children too and nobody else.
            process = subprocess.Popen(
                words,
                stdin=subprocess.PIPE if input is not None else subprocess.DEVNULL,
                stdout=sink or subprocess.PIPE,
                stderr=subprocess.STDOUT if sink else subprocess.PIPE,
                env={**os.environ, **env} if env else None,
                cwd=cwd,
                start_new_session=True,
            )
        except FileNotFoundError as error:
            raise PrerequisiteError(
                f"There is no program {words[0]!r} here.",
                details=[shlex.join(words)],
                fix="lab doctor says which package has it",
            ) from error
        try:
            out, err = process.communicate(input.encode() if input is not None else None, timeout=timeout)
        except subprocess.TimeoutExpired as expired:
            end_group(process)
            so_far = _decode(expired.stderr) or _decode(expired.stdout) or _read(log, offset)
            raise WaitTimeout(
                f"A command did not end within {timeout:g} s.", details=[shlex.join(words), *tail(so_far)]
            ) from expired
        except BaseException:
            end_group(process)
            raise
        seconds = time.monotonic() - begun
    stdout = _read(log, offset) if log else _decode(out)
    result = Result(words, process.returncode, stdout, _decode(err), seconds)
    if check and not result.ok:
        raise CommandError(result)
    return result


def end_group(process: subprocess.Popen[bytes], *, grace: float = 5.0) -> None:
    """End a process started in a session of its own, with its group: asked first, then killed.

    Args:
        process: a child of this process, started with `start_new_session=True`.
        grace: seconds between asking and killing.
    """
    for signum in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signum)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(grace)
    # Pipes may still be held by a grandchild in a session of its own: do not wait for them.
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()


def _read(log: Path | None, offset: int) -> str:
    if log is None:
        return ""
    with log.open("rb") as file:
        file.seek(offset)
        return _decode(file.read())


def _decode(output: bytes | str | None) -> str:
    if output is None:
        return ""
    return output if isinstance(output, str) else output.decode(errors="replace")


def tethered(prefix: Sequence[str], argv: Sequence[str]) -> list[str]:
    """`prefix` and `argv` as one command that the kernel ends when this process ends, however it ends.

    So a killed `lab up` leaves no Ansible behind that goes on changing machines. Both ends are tied, since a
    prefix such as `nsenter --pid` is itself the parent of the command (prctl(2), PR_SET_PDEATHSIG; setpriv is
    in util-linux).
    """
    tether = ["setpriv", "--pdeathsig", "KILL", "--"]
    return [*tether, *prefix, *(tether if prefix else ()), *argv]
