"""Two real runs of `lab test -m "facts or matrix"`, in iptables and nftables mode, and ways to change them.

On two podman labs; their lines are put together as `lab migrate-check` writes them, without the versions.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lab.report import build, model

FILE = Path(__file__).with_name("captured") / "iptables-nftables.jsonl"
Event = dict[str, Any]


def events() -> list[Event]:
    """Its `results.jsonl`."""
    return [json.loads(line) for line in FILE.read_text().splitlines()]


def of_mode(mode: str) -> list[Event]:
    """The lines of one run of the suites."""
    return [event for event in events() if event.get("mode") == mode]


def report(change: Callable[[Event], None] | None = None) -> model.Report:
    """Its report; `change` may change each line before."""
    found = events()
    for event in found:
        if change:
            change(event)
    return build.report(found)


def cell(mode: str, target: str, client: str, **values: Any) -> Callable[[Event], None]:
    """Changes what was recorded of one cell of the truth table, or how its test ended."""

    def change(event: Event) -> None:
        where = (event.get("mode"), event.get("target"), event.get("node"), event["event"])
        if where == (mode, target, client, "phase"):
            event |= values

    return change
