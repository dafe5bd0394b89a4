"""The prober as it stays at a place: one process there for all requests of this session.

It reads a run's plan as a line of JSON and answers with a line, its report; `bundle/prober/serve.go` has the
fields of both.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

Report = Mapping[str, Any]


class EndedError(Exception):
    """It ended, or was cut off, before it had answered anything."""


class Prober:
    """One that runs.

    Args:
        argv: what starts it, here or by way of ssh or kubectl.
    """

    def __init__(self, argv: Sequence[str]) -> None:
        self.errors = tempfile.TemporaryFile()  # noqa: SIM115 -- as long as the process
        self.process = subprocess.Popen(
            [*argv], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, bufsize=0
        )
        self.turn = threading.Lock()

    def run(self, plans: Sequence[Mapping[str, Any]], *, timeout: float) -> list[Report]:
        """The reports of these runs, made in turn.

        Raises:
            EndedError: there is no prober any more, and no report.
            AssertionError: it refused a plan, ended in between, or was not done after `timeout` seconds.
        """
        with self.turn:
            text = "".join(json.dumps(plan) + "\n" for plan in plans)
            try:
                self.process.stdin.write(text.encode())  # type: ignore[union-attr]
            except OSError:
                raise EndedError(self.said()) from None
            return self._reports(plans, time.monotonic() + timeout)

    def _reports(self, plans: Sequence[Mapping[str, Any]], deadline: float) -> list[Report]:
        out, count = self.process.stdout, len(plans)
        assert out is not None
        got = b""
        with selectors.DefaultSelector() as ready:
            ready.register(out, selectors.EVENT_READ)
            while got.count(b"\n") < count:
                if not ready.select(max(0.0, deadline - time.monotonic())):
                    self.end()
                    done = got.count(b"\n")
                    raise AssertionError(f"{done} of {count} runs of the prober were done in time: {plans}")
                if not (more := os.read(out.fileno(), 65536)):
                    if not got:
                        raise EndedError(self.said())
                    raise AssertionError(f"the prober ended in a run: {self.said()}")
                got += more
        reports: list[Report] = [json.loads(line) for line in got.splitlines()]
        for report in reports:
            assert "error" not in report, f"the prober says: {report['error']}"
        return reports

    def said(self) -> str:
        """Why it is not there any more: its exit code and last words, or those of what led to it."""
        self.end()
        self.errors.seek(0)
        return f"exit code {self.process.returncode}, {self.errors.read().decode(errors='replace').strip()!r}"

    def end(self) -> None:
        """End it, as it does itself when its input ends."""
        end(self.process)


def end(process: subprocess.Popen[bytes]) -> None:
    """Close its pipes, on which it shall end, and end it if it does not."""
    for pipe in filter(None, (process.stdin, process.stdout, process.stderr)):
        with contextlib.suppress(OSError):
            pipe.close()
    try:
        process.wait(2)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


class Probers:
    """Those that run, by what started them: one for each place."""

    def __init__(self) -> None:
        self.running: dict[tuple[str, ...], Prober] = {}
        self.lock = threading.Lock()

    def run(self, argv: Sequence[str], plans: Sequence[Mapping[str, Any]], *, timeout: float) -> list[Report]:
        """The reports of these runs at a place, by the prober that is there already, else by a new one.

        Raises:
            AssertionError: none can be started there, or see `Prober.run`.
        """
        prober, fresh = self._at(tuple(argv))
        try:
            return prober.run(plans, timeout=timeout)
        except EndedError as fault:
            if fresh:
                raise AssertionError(f"no prober can be started by {' '.join(argv)}: {fault}") from None
        # Its way was cut since it last answered, by a restart of the API server, say.
        return self.run(argv, plans, timeout=timeout)

    def _at(self, place: tuple[str, ...]) -> tuple[Prober, bool]:
        """The prober at a place, and whether it is a new one."""
        with self.lock:
            # Those that ended are let go, not closed: another thread may still be reading from one.
            self.running = {key: one for key, one in self.running.items() if one.process.poll() is None}
            fresh = place not in self.running
            if fresh:
                self.running[place] = Prober(place)
            return self.running[place], fresh

    def end(self) -> None:
        """End all."""
        with self.lock:
            for one in self.running.values():
                one.end()
            self.running.clear()


PROBERS = Probers()
"""This session's; its fixture `stays` ends them."""
