"""The history of all nights, `history.jsonl`: a line for each behaviour, cell and night; what changed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from lab.errors import InputError
from lab.nightly.results import FAILED, LAB, PASSED, Cell, NightResult, begun, too_old, worst
from lab.state import write_text

FILE = "history.jsonl"


@dataclass(frozen=True)
class Entry:
    """One behaviour in one cell in one night; `where` are the places at which it failed."""

    night: str
    provider: str
    kubernetes: str
    mode: str
    behaviour: str
    outcome: str
    where: tuple[str, ...] = ()
    message: str = ""

    @property
    def cell(self) -> str:
        """The cell's key: `podman 1.37 iptables`."""
        return Cell(self.provider, self.kubernetes, self.mode).key


def entries(night: NightResult) -> Iterator[Entry]:
    """A night as lines of the history."""
    for result in night.cells:
        for behaviour, tests in result.behaviours().items():
            outcome = worst(test.outcome for test in tests)
            told = [test for test in tests if test.outcome == outcome != PASSED]
            yield Entry(
                night.stamp,
                result.cell.provider,
                result.cell.kubernetes,
                result.cell.mode,
                behaviour,
                outcome,
                tuple(dict.fromkeys(test.place for test in told)) if outcome == FAILED else (),
                told[0].message if told else "",
            )


@dataclass
class History:
    """All entries, the oldest night first."""

    file: Path
    entries: list[Entry] = field(default_factory=list)

    @classmethod
    def read(cls, folder: Path) -> History:
        """The history in `folder`; an empty one where there is none.

        Raises:
            InputError: a line is not one of ours.
        """
        file = folder / FILE
        history = cls(file)
        lines = file.read_text().splitlines() if file.is_file() else []
        for number, line in enumerate(lines, start=1):
            try:
                values = json.loads(line)
                entry = Entry(**{**values, "where": tuple(values.get("where", ()))})
                begun(entry.night)
            except (TypeError, ValueError) as error:
                raise InputError(
                    f"{file}: line {number} is not a line of a history.",
                    details=[str(error), line[:200]],
                    fix=f"remove that line, or choose another --output; what was read stays as it is: {file}",
                ) from error
            history.entries.append(entry)
        return history

    def put(self, night: NightResult) -> None:
        """Have `night` in it as it is now."""
        self.entries = [entry for entry in self.entries if entry.night != night.stamp] + list(entries(night))
        self.entries.sort(key=lambda entry: entry.night)

    def forget(self, *, before: str, days: int) -> None:
        """Leave out nights that began more than `days` days before the night `before`."""
        old = {night for night in self.nights if too_old(night, before=before, days=days)}
        self.entries = [entry for entry in self.entries if entry.night not in old]

    def write(self) -> None:
        """Write it whole: a reader, and whoever comes after a kill, sees the old one or the new one."""
        lines = (json.dumps(asdict(entry), separators=(",", ":")) for entry in self.entries)
        write_text(self.file, "".join(f"{line}\n" for line in lines), mode=0o644)

    @property
    def nights(self) -> list[str]:
        """Every night there is, the oldest first."""
        return sorted({entry.night for entry in self.entries})


@dataclass(frozen=True)
class Change:
    """What one behaviour does otherwise than before, in which cells; or what it still does wrong."""

    kind: str
    behaviour: str
    cells: tuple[Entry, ...]
    since: str = ""


#: In the order in which they matter. What a kind says to people is `lab.nightly.report`'s.
KINDS = ("failing", "mended", "still", "skipped", "gone")


def changes(history: History, night: str) -> list[Change]:
    """What changed between `night` and the night before in which the same cell was run, grouped by behaviour.

    A behaviour that fails when it is first seen is newly failing. Of a cell whose lab did not come up only
    that is said.
    """
    found: dict[tuple[str, str, str], list[Entry]] = {}
    by_cell: dict[str, dict[str, dict[str, Entry]]] = {}
    for entry in history.entries:
        by_cell.setdefault(entry.cell, {}).setdefault(entry.night, {})[entry.behaviour] = entry
    for nights in by_cell.values():
        if night not in nights:
            continue
        now = nights[night]
        earlier = [nights[name] for name in sorted(nights) if name < night]
        lost = _lost(now)
        # The last night that says anything of a behaviour: one whose lab did not come up says nothing.
        told = [old for old in earlier if not _lost(old)]
        for behaviour in dict.fromkeys([*now, *(told[-1] if told else ())]):
            past = earlier if behaviour == LAB else told
            old = past[-1].get(behaviour) if past else None
            kind = _kind(old, now.get(behaviour), lost=lost)
            if kind is not None:
                since = _since(behaviour, past) if kind == "still" else ""
                told_by = now.get(behaviour) or old
                assert told_by is not None  # it is in one of the two
                found.setdefault((kind, behaviour, since), []).append(told_by)
    made = [Change(kind, name, tuple(cells), since) for (kind, name, since), cells in found.items()]
    return sorted(
        made, key=lambda change: (KINDS.index(change.kind), change.behaviour != LAB, change.behaviour)
    )


def _lost(night: dict[str, Entry]) -> bool:
    """Whether a cell's lab did not come up in that night."""
    return LAB in night and night[LAB].outcome == FAILED


def _kind(old: Entry | None, now: Entry | None, *, lost: bool) -> str | None:
    if now is None:
        return None if lost else "gone"
    if now.outcome == FAILED:
        return "still" if old and old.outcome == FAILED else "failing"
    if old is None:
        return None
    if old.outcome == FAILED:
        return "mended" if now.outcome == PASSED else "skipped"
    return "skipped" if old.outcome == PASSED and now.outcome != PASSED else None


def _since(behaviour: str, past: Iterable[dict[str, Entry]]) -> str:
    """The first of the nights in a row in which it has failed by now."""
    first = ""
    for night in reversed(list(past)):
        entry = night.get(behaviour)
        if entry is None or entry.outcome != FAILED:
            break
        first = entry.night
    return first
