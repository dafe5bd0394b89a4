"""`results.jsonl`: one line an event, written while the tests run, so that a killed run is told as well."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lab.errors import InputError

FILE = "results.jsonl"
VERSION = 1
"""Of the lines' format; it stands in the line that begins a run."""

Event = Mapping[str, Any]
"""`event` says what it is: `run`, `session`, `start`, `phase` or `end`; `at` when it was written (UTC)."""


def now() -> str:
    """This moment in UTC, to the millisecond: `2026-11-24T10:18:23.123Z`."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def append(file: Path, event: str, **values: Any) -> None:
    """Write one line at the file's end, by a single call, so that only the last one can be cut off."""
    line = json.dumps({"event": event, "at": now(), **values}, ensure_ascii=False, default=str) + "\n"
    handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(handle, line.encode(errors="replace"))
    finally:
        os.close(handle)


def read(file: Path) -> list[Event]:
    """The events of a run in order; a last line that was cut off is left out.

    Raises:
        InputError: there is no such file, or it is no run's.
    """
    try:
        lines = file.read_text(errors="replace").splitlines(keepends=True)
    except OSError as error:
        raise InputError(
            f"There are no results in {file.parent}.",
            details=[str(error)],
            fix="lab report RUN_DIR, with the folder of a run of lab test",
        ) from error
    if lines and not lines[-1].endswith("\n"):
        del lines[-1]
    events: list[Event] = []
    for number, line in enumerate(lines, 1):
        try:
            event = json.loads(line)
            if not isinstance(event["event"], str):
                raise TypeError("event")  # noqa: TRY301 -- told as the others are
        except (ValueError, TypeError, KeyError) as error:
            raise InputError(
                f"{file} is no run's results.", details=[f"line {number}: {line[:200]!r}"]
            ) from error
        events.append(event)
    if not events or events[0]["event"] != "run":
        raise InputError(f"{file} is no run's results.", details=["its first line does not begin a run"])
    if events[0].get("version") != VERSION:
        raise InputError(
            f"{file} has version {events[0].get('version')!r}; this release reads version {VERSION}.",
            fix="lab report of the release that wrote it",
        )
    return events
