"""The shell as it stays at a place: one process there runs a session's scripts, one after another.

To log in for each script, or to have a container's runtime enter a pod, costs more than most scripts do.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import secrets
import selectors
import subprocess
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

from .prober import end


class EndedError(Exception):
    """The shell, or the way to it, ended before a command began."""


@dataclass(frozen=True)
class Result:
    """What became of a command."""

    status: int
    """Its exit status."""
    out: str
    err: str


class _Said:
    """What came back since a command was given: its own, between marks."""

    def __init__(self, mark: str) -> None:
        self.out, self.err = bytearray(), bytearray()
        self.begins = f"{mark} begins\n".encode()
        self.ended, self.ended_err = re.compile(rf"{mark} (\d+)\n$".encode()), f"{mark}\n".encode()

    @property
    def begun(self) -> bool:
        return self.begins in self.out

    @property
    def result(self) -> Result | None:
        """None as long as not all of it came."""
        # An exit status has three digits at most: only the end is searched, however much came.
        ended = self.ended.search(self.out, max(0, len(self.out) - len(self.begins)))
        if not (ended and self.err.endswith(self.ended_err)):
            return None
        out, err = self.out[: ended.start()], self.err[: -len(self.ended_err)]
        return Result(int(ended[1]), self._own(out), self._own(err))

    def _own(self, text: bytearray) -> str:
        """Without what a login, or a client on the way, had to say before the command began."""
        _, begun, own = text.partition(self.begins)
        return (own if begun else text).decode(errors="replace")

    def __str__(self) -> str:
        return (self._own(self.out) + self._own(self.err)).strip()


class Shell:
    """One that runs.

    Args:
        argv: what starts it, here or by way of ssh or kubectl; it reads commands from its input.
    """

    def __init__(self, argv: Sequence[str]) -> None:
        self.process = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0
        )

    def run(self, command: str, *, timeout: float) -> Result:
        """Run a command, a list of words for the shell there; it has nothing to read.

        Raises:
            EndedError: it cannot have begun; says the last words of the shell, or of what led to it.
            AssertionError: the shell ended in between, or the command has not after `timeout` seconds.
        """
        mark = f"kube-service-lab-{secrets.token_hex(8)}"
        # The first marks: where they came back, the command may have done something.
        text = (
            f"echo {mark} begins; echo {mark} begins >&2\n"
            f"{{ {command}\n}} </dev/null; echo {mark} $?; echo {mark} >&2\n"
        )
        said = _Said(mark)
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(text.encode())  # type: ignore[union-attr]
        deadline = time.monotonic() + timeout
        with selectors.DefaultSelector() as ready:
            ready.register(self.process.stdout, selectors.EVENT_READ, said.out)  # type: ignore[arg-type]
            ready.register(self.process.stderr, selectors.EVENT_READ, said.err)  # type: ignore[arg-type]
            while (result := said.result) is None:
                if not ready.get_map():
                    why = f"the shell ended with exit code {self.process.wait()}: {said}"
                    raise AssertionError(f"{why}\nin: {command}") if said.begun else EndedError(why)
                if not (events := ready.select(max(0.0, deadline - time.monotonic()))):
                    raise AssertionError(f"not done after {timeout:g} s: {command}\n{said}")
                for key, _ in events:
                    if more := os.read(key.fd, 65536):
                        key.data.extend(more)
                    else:
                        ready.unregister(key.fileobj)
        return result

    @property
    def alive(self) -> bool:
        """Whether it, or what leads to it, still runs."""
        return self.process.poll() is None

    def end(self) -> None:
        """End it, as it does itself when its input ends."""
        end(self.process)


class Shells:
    """Those that run, by what started them: as many at a place as are busy there at once."""

    def __init__(self) -> None:
        self.idle: dict[tuple[str, ...], list[Shell]] = {}
        self.lock = threading.Lock()

    def run(self, argv: Sequence[str], command: str, *, timeout: float) -> Result:
        """Run a command at a place, by a shell that is there already, else by a new one.

        Raises:
            AssertionError: none can be started there, or see `Shell.run`.
        """
        place = tuple(argv)
        shell, fresh = self._take(place)
        try:
            result = shell.run(command, timeout=timeout)
        except EndedError as fault:
            shell.end()
            if fresh:
                raise AssertionError(f"no shell can be started by {' '.join(argv)}: {fault}") from None
        except BaseException:
            shell.end()
            raise
        else:
            with self.lock:
                self.idle.setdefault(place, []).append(shell)
            return result
        # The way to it was cut since it last answered, by a restart of the API server, say.
        return self.run(argv, command, timeout=timeout)

    def _take(self, place: tuple[str, ...]) -> tuple[Shell, bool]:
        """A shell at a place that is nobody else's, and whether it is a new one."""
        with self.lock:
            while idle := self.idle.get(place):
                shell = idle.pop()
                if shell.alive:
                    return shell, False
                shell.end()
        return Shell(place), True

    def end(self) -> None:
        """End all."""
        with self.lock:
            for shell in itertools.chain.from_iterable(self.idle.values()):
                shell.end()
            self.idle.clear()


SHELLS = Shells()
"""This session's; its fixture `stays` ends them."""
