"""The truth table as rows: clients that reach the same are told together."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from lab.report.model import Reach

PLACES = ("pod", "outside")
"""Clients that are no nodes: they come last."""


@dataclass(frozen=True)
class Row:
    """What some clients see of one target; `cells` by mode, without those that were not asked."""

    clients: tuple[str, ...]
    target: str
    cells: dict[str, Reach]


def rows(truth: Iterable[Reach]) -> list[Row]:
    """The table, by target, the nodes first."""
    seen: dict[str, dict[str, dict[str, Reach]]] = {}
    for reach in truth:
        seen.setdefault(reach.target, {}).setdefault(reach.client, {})[reach.mode] = reach
    found = []
    for target, clients in seen.items():
        alike: dict[object, list[str]] = {}
        for client in sorted(clients, key=lambda name: name in PLACES):
            alike.setdefault(_key(clients[client]), []).append(client)
        found += [Row(tuple(names), target, clients[names[0]]) for names in alike.values()]
    return found


def text(truth: Iterable[Reach], modes: Iterable[str]) -> tuple[list[str], list[list[str]]]:
    """Columns and lines of the table for a terminal: for each mode what was expected and what was seen."""
    modes = list(modes)
    columns = ["client", "target", *(f"{mode}: {what}" for mode in modes for what in ("expected", "seen"))]
    lines = []
    for row in rows(truth):
        line = [", ".join(row.clients), row.target]
        for mode in modes:
            cell = row.cells.get(mode)
            mark = "✗ " if cell and cell.outcome != "passed" else ""
            line += [cell.expected, mark + (cell.seen or cell.outcome)] if cell else ["", ""]
        lines.append(line)
    return columns, lines


def _key(cells: dict[str, Reach]) -> object:
    return tuple((mode, cell.expected, cell.seen, cell.outcome) for mode, cell in sorted(cells.items()))
