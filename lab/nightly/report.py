"""A night told to people: `summary.md` beside its results, and `index.html`, one file, over all nights."""

from __future__ import annotations

import functools
import html
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2

import lab
from lab.nightly.history import Change, Entry, History, changes
from lab.nightly.results import FAILED, LAB, PASSED, SKIPPED, CellResult, NightResult, begun, worst
from lab.progress import duration
from lab.state import write_text

SHOWN = 30
"""Nights on the page; the history keeps the others."""

#: What a kind of change says, and the outcome whose colour it has.
TITLES = {
    "failing": ("Newly failing", FAILED),
    "mended": ("Mended", PASSED),
    "still": ("Still failing", FAILED),
    "skipped": ("Newly skipped", SKIPPED),
    "gone": ("No longer tested", SKIPPED),
}
MARKS = {PASSED: "✓", FAILED: "✗", SKIPPED: "-", "": "·"}


@dataclass(frozen=True)
class Square:
    """One night of one row: an outcome, or an empty text where nothing was run."""

    night: str
    outcome: str
    text: str

    @property
    def mark(self) -> str:
        """The sign, so that no one needs the colour."""
        return MARKS[self.outcome]


@dataclass(frozen=True)
class Row:
    """One behaviour over time, and each cell of its own where it ever failed in the nights shown."""

    name: str
    squares: tuple[Square, ...]
    cells: tuple[tuple[str, tuple[Square, ...]], ...] = ()

    @property
    def told(self) -> str:
        """The row in words, for who does not see it."""
        failed = [day(square.night) for square in self.squares if square.outcome == FAILED]
        ran = sum(square.outcome != "" for square in self.squares)
        return f"{self.name}: run in {ran} nights, failed in {len(failed)}" + (
            f" ({', '.join(failed)})" if failed else ""
        )


def write(output: Path, night: NightResult, history: History) -> None:
    """Write the night's `summary.md` and the page of all nights."""
    changed = changes(history, night.stamp)
    facts = {
        "night": night,
        "changes": [(kind, *TITLES[kind], told) for kind, told in _by_kind(changed)],
        "first": history.nights[:1] == [night.stamp],
        "version": lab.__version__,
    }
    text = _template("summary.md.j2").render(**facts)
    write_text(output / night.stamp / "summary.md", text, mode=0o644)
    nights = history.nights[-SHOWN:]
    page = _template("index.html.j2").render(
        **facts, nights=nights, suites=_suites(history, nights), older=len(history.nights) - len(nights)
    )
    write_text(output / "index.html", page, mode=0o644)


def _by_kind(changed: Iterable[Change]) -> list[tuple[str, list[Change]]]:
    kinds: dict[str, list[Change]] = {}
    for change in changed:
        kinds.setdefault(change.kind, []).append(change)
    return list(kinds.items())


def _suites(history: History, nights: list[str]) -> list[tuple[str, list[Row]]]:
    """The rows of each suite, the lab itself first; the newest night is the last square of each."""
    seen: dict[str, dict[str, list[Entry]]] = {}
    for entry in history.entries:
        if entry.night in nights:
            seen.setdefault(entry.behaviour, {}).setdefault(entry.night, []).append(entry)
    suites: dict[str, list[Row]] = {}
    for behaviour in sorted(seen, key=lambda name: (name != LAB, name)):
        suite, _, name = behaviour.partition("/")
        there = seen[behaviour]
        squares = tuple(_square(night, there.get(night, [])) for night in nights)
        cells: dict[str, list[Entry]] = {}
        if any(square.outcome == FAILED for square in squares):
            for entry in (entry for night in there.values() for entry in night):
                cells.setdefault(entry.cell, []).append(entry)
        own = tuple(
            (cell, tuple(_square(night, [e for e in cells[cell] if e.night == night]) for night in nights))
            for cell in sorted(cells)
        )
        suites.setdefault(suite, []).append(Row(name, squares, own))
    return list(suites.items())


def _square(night: str, there: list[Entry]) -> Square:
    if not there:
        return Square(night, "", f"{day(night)}: not run")
    failed = [entry for entry in there if entry.outcome == FAILED]
    text = f"{day(night)}: " + (
        "failed in " + "; ".join(f"{e.cell} at {', '.join(e.where)}" for e in failed)
        if failed
        else worst(entry.outcome for entry in there)
    )
    return Square(night, worst(entry.outcome for entry in there), text)


def day(night: str) -> str:
    """A night's name for people: `2026-11-24 01:30 UTC`."""
    return begun(night).strftime("%Y-%m-%d %H:%M UTC")


def table(cells: Iterable[CellResult]) -> list[tuple[str, dict[str, CellResult]]]:
    """The matrix as rows: provider and Kubernetes version, then what came of each mode."""
    rows: dict[str, dict[str, CellResult]] = {}
    for result in cells:
        rows.setdefault(f"{result.cell.provider} {result.cell.kubernetes}", {})[result.cell.mode] = result
    return list(rows.items())


def _in_a_table(text: str) -> str:
    """A text as one cell of a Markdown table, or one line of a list: shown as it is."""
    return html.escape(" ".join(text.split()), quote=False).replace("|", "\\|")


@functools.cache
def _environment() -> jinja2.Environment:
    made = jinja2.Environment(
        loader=jinja2.PackageLoader("lab.nightly"),
        autoescape=lambda name: bool(name) and ".html" in str(name),
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    filters: dict[str, Any] = {"day": day, "duration": duration, "table": table, "line": _in_a_table}
    made.filters |= filters
    return made


def _template(name: str) -> jinja2.Template:
    return _environment().get_template(name)
