"""What an Ansible run tells while it runs: what to show now, what failed, how long each task took."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from lab.shell import tail

NO_TRACEBACK = "(traceback unavailable)"
ENDED = ("runner_on_ok", "runner_on_failed", "runner_on_unreachable", "runner_on_skipped")


@dataclass(frozen=True)
class Failure:
    """A task that failed on a host, with what it said."""

    task: str
    host: str
    lines: tuple[str, ...]


@dataclass
class Events:
    """Collects the events of one run. `handle` is ansible-runner's event handler.

    Args:
        show: told what is being done, as `task — host`.

    `running` is what each host is doing, since when; `timings` what it has done, in seconds; `printed`, by
    task and host, the lines of each command that changed something.
    """

    show: Callable[[str], None]
    failures: list[Failure] = field(default_factory=list)
    changed: dict[str, int] = field(default_factory=dict)
    changed_tasks: list[str] = field(default_factory=list)
    timings: list[tuple[str, float]] = field(default_factory=list)
    printed: dict[str, dict[str, tuple[str, ...]]] = field(default_factory=dict)
    running: dict[str, tuple[str, float]] = field(default_factory=dict)
    _failed_at: float | None = None

    @property
    def seconds_since_failure(self) -> float:
        """How long ago the first task failed; 0 while none has."""
        return 0.0 if self._failed_at is None else time.monotonic() - self._failed_at

    def handle(self, event: Mapping[str, Any]) -> bool:
        """Take one event; True, so that it is kept among the artifacts."""
        data = event.get("event_data") or {}
        task = str(data.get("name") or data.get("task") or "")
        host = str(data.get("host") or "")
        if event.get("event") in ENDED:
            self._ended(host)
        match event.get("event"):
            case "playbook_on_task_start":
                self.show(task)
            case "runner_on_start":
                self.running[host] = (task, time.monotonic())
                self.show(f"{task} — {host}")
            case "runner_on_failed" if not data.get("ignore_errors"):
                self._fail(task, host, data.get("res"))
            case "runner_on_unreachable":
                self._fail(task, host, data.get("res"))
            case "runner_on_ok" if (data.get("res") or {}).get("changed"):
                self.changed_tasks.append(f"{task} — {host}")
                lines = str(data["res"].get("stdout") or "").splitlines()
                if lines:
                    self.printed.setdefault(task, {})[host] = tuple(lines)
            case "playbook_on_stats":
                self.changed = {str(name): int(count) for name, count in (data.get("changed") or {}).items()}
            case _:
                pass
        return True

    def _fail(self, task: str, host: str, result: Any) -> None:
        self._failed_at = self._failed_at or time.monotonic()
        self.failures.append(Failure(task, host, said(result)))

    def _ended(self, host: str) -> None:
        if host in self.running:
            task, begun = self.running.pop(host)
            self.timings.append((f"{task} — {host}", time.monotonic() - begun))


def said(result: Any) -> tuple[str, ...]:
    """What a task's result says of its failure: message, outputs' tails, and those of the items of a loop."""
    if not isinstance(result, Mapping):
        return (str(result),) if result else ()
    lines: list[str] = []
    for key in ("msg", "reason", "module_stderr", "stderr", "stdout", "module_stdout", "exception"):
        value = result.get(key)
        if isinstance(value, list):
            value = "\n".join(map(str, value))
        if value and str(value).strip():
            text = tail(str(value), 15)
            known = {line.strip() for line in lines}
            lines += [line for line in text if line.strip() not in known and line != NO_TRACEBACK]
    command = result.get("cmd")
    if command:
        lines.insert(0, f"command: {command if isinstance(command, str) else ' '.join(map(str, command))}")
    for item in result.get("results") or ():
        if isinstance(item, Mapping) and (item.get("failed") or item.get("unreachable")):
            lines += [f"item {item.get('item')}:", *said(item)]
    return tuple(lines)
