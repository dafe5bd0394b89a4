"""Nights as tests need them: cells with outcomes, one after the other, as a history."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from lab.errors import Exit
from lab.nightly.history import History
from lab.nightly.results import FAILED, Case, Cell, CellResult, NightResult

IPTABLES = Cell("podman", "1.37.2", "iptables")
NFTABLES = Cell("podman", "1.37.2", "nftables")


def cell(where: Cell = IPTABLES, **outcomes: str) -> CellResult:
    """A cell in which each behaviour (`answers` of the suite `clusterip`) had that outcome on node01."""
    cases = [
        Case(f"clusterip/{name}", "node01", outcome, 1.0, "nobody answered" if outcome == FAILED else "")
        for name, outcome in outcomes.items()
    ]
    return CellResult(where, tuple(cases), 1.0, f"podman-1.37.2/junit-{where.mode}.xml")


def broken(where: Cell = IPTABLES) -> CellResult:
    """A cell whose lab did not come up."""
    return CellResult(where, error="kubeadm did not come to its end.", code=int(Exit.BRING_UP_FAILED))


def history(folder: Path, nights: Mapping[str, list[CellResult]]) -> History:
    """The history of nights, by the day of November on which each began."""
    made = History.read(folder)
    for day, cells in nights.items():
        made.put(NightResult(name(day), cells, interrupted=False))
    return made


def name(day: str) -> str:
    """The night of that day of November."""
    return f"2026-11-{day}T013000Z"
