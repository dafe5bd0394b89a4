"""What a night came to: every test in each cell of the matrix, read from JUnit XML; `results.json`."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from lab.errors import Exit, InputError
from lab.state import read_json, write_json
from lab.versions import minor

FILE = "results.json"
STAMP = "%Y-%m-%dT%H%M%SZ"
#: Stands for the lab itself, raised or switched to the mode: fails where no suite could run to its end.
LAB = "lab/up"
PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"
#: From the worst to the best: a behaviour is as its worst test.
WORST = (FAILED, PASSED, SKIPPED)


@dataclass(frozen=True, order=True)
class Cell:
    """One place of the matrix; `kubernetes` is the whole version, `1.37.2`."""

    provider: str
    kubernetes: str
    mode: str

    @property
    def minor(self) -> str:
        """`1.37`: what is followed from night to night, whatever its patch."""
        return minor(self.kubernetes)

    @property
    def key(self) -> str:
        """`podman 1.37 iptables`."""
        return f"{self.provider} {self.minor} {self.mode}"


@dataclass(frozen=True)
class Case:
    """One test at one place. `behaviour` is its suite and name without the place: `clusterip/answers`."""

    behaviour: str
    place: str
    outcome: str
    seconds: float
    message: str = ""


@dataclass(frozen=True)
class CellResult:
    """What came of one cell; `error` and `code` where the suites could not run or not to their end."""

    cell: Cell
    tests: tuple[Case, ...] = ()
    seconds: float = 0.0
    junit: str = ""
    error: str = ""
    code: int = 0

    @property
    def exit(self) -> Exit:
        """What the cell alone would make of the exit code."""
        if self.code:
            return Exit(self.code)
        ran = any(test.outcome == PASSED for test in self.tests)
        return Exit.DONE if ran and not self.count(FAILED) else Exit.TEST_FAILED

    def count(self, outcome: str) -> int:
        """How many tests ended so."""
        return sum(test.outcome == outcome for test in self.tests)

    def behaviours(self) -> dict[str, list[Case]]:
        """The tests of each behaviour; the lab itself is one, with what went wrong."""
        lab = Case(LAB, "all", FAILED if self.error else PASSED, self.seconds, self.error)
        found: dict[str, list[Case]] = {LAB: [lab]}
        for test in self.tests:
            found.setdefault(test.behaviour, []).append(test)
        return found


@dataclass
class NightResult:
    """One night. `stamp` (UTC) is its folder's name; an `interrupted` one has not run every cell."""

    stamp: str
    cells: list[CellResult] = field(default_factory=list)
    host: dict[str, str] = field(default_factory=dict)
    interrupted: bool = True

    @property
    def exit(self) -> Exit:
        """A lab that could not be tested says more than a test that failed, and that more than success."""
        return max((cell.exit for cell in self.cells), default=Exit.DONE)

    def write(self, folder: Path) -> None:
        """Write `results.json`, whole or not at all."""
        write_json(folder / FILE, asdict(self), mode=0o644)

    @classmethod
    def read(cls, file: Path) -> NightResult:
        """A night from its `results.json`.

        Raises:
            InputError: it is no such file.
        """
        values = read_json(file)
        try:
            return cls._of(values or {})
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{file} is not a night's results.", details=[repr(error)]) from error

    @classmethod
    def _of(cls, values: Mapping[str, Any]) -> NightResult:
        begun(values["stamp"])
        cells = [
            CellResult(
                **{
                    **cell,
                    "cell": Cell(**cell["cell"]),
                    "tests": tuple(Case(**test) for test in cell["tests"]),
                }
            )
            for cell in values["cells"]
        ]
        return cls(**{**values, "cells": cells})


def stamp() -> str:
    """Now, as a night's name."""
    return datetime.now(UTC).strftime(STAMP)


def begun(night: str) -> datetime:
    """When a night began.

    Raises:
        ValueError: this is no night's name.
    """
    return datetime.strptime(night.partition(".")[0], STAMP).replace(tzinfo=UTC)


def too_old(night: str, *, before: str, days: int) -> bool:
    """Whether a night began more than `days` days before another.

    Raises:
        ValueError: one of them is no night's name.
    """
    return begun(before) - begun(night) > timedelta(days=days)


def cases(junit: Path) -> tuple[Case, ...]:
    """Every test of a JUnit XML file (family xunit1, as `lab.suites` has it written)."""
    return tuple(_test(case) for case in ET.parse(junit).iter("testcase"))


def _test(case: ET.Element) -> Case:
    place = next((p.get("value", "") for p in case.iter("property") if p.get("name") == "node"), "all")
    suite = case.get("classname", "").rpartition(".")[2].removeprefix("test_")
    name, bracket, rest = case.get("name", "").removeprefix("test_").partition("[")
    # `[node01]`, `[rr-node01]`: the place is told apart, what else there is belongs to the behaviour.
    kept = re.sub(rf"(^|-){re.escape(place)}(-|$)", "", rest.removesuffix("]")) if bracket else ""
    behaviour = f"{suite}/{name.replace('_', ' ')}" + (f"[{kept}]" if kept else "")
    outcome, message = PASSED, ""
    for kind, word in (("skipped", SKIPPED), ("error", FAILED), ("failure", FAILED)):
        if (found := case.find(kind)) is not None:
            outcome, message = word, _said(found)
    return Case(behaviour, place, outcome, float(case.get("time", 0)), message)


def _said(element: ET.Element) -> str:
    """The first line of what a test said."""
    text = (element.get("message") or element.text or "").strip()
    return text.splitlines()[0][:300] if text else ""


def worst(found: Iterable[str]) -> str:
    """A behaviour's outcome from those of its tests."""
    there = set(found)
    return next(outcome for outcome in WORST if outcome in there)
