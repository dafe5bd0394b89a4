"""What `lab verify` found, for people and for programs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from lab.progress import duration
from lab.proxy.compare import Difference
from lab.verify.reconcile import Reconciled
from lab.verify.traffic import Traffic

SHOWN = 6
"""Raw rules shown to a person; a program gets them all."""


@dataclass(frozen=True)
class Report:
    """Both comparisons; `traffic` is None if no connection was to be made."""

    rules: Reconciled
    traffic: Traffic | None
    seconds: float

    @property
    def differences(self) -> tuple[Difference, ...]:
        """Every disagreement, those of the rules first: traffic follows from them."""
        return self.rules.differences + (self.traffic.differences if self.traffic else ())

    def json(self) -> dict[str, Any]:
        """For a program."""
        modes = {name: view.mode for name, view in self.rules.views.items()}
        traffic = self.traffic and {
            "connections": self.traffic.connections,
            "addresses": self.traffic.addresses,
            "all_addresses": self.traffic.all_addresses,
            "counters_compared_on": list(self.traffic.counted),
        }
        return {
            "agree": not self.differences,
            "nodes": modes,
            "services": len(self.rules.objects.services),
            "frontends": self._frontends(),
            "traffic": traffic,
            "reads": self.rules.rounds,
            "seconds": round(self.seconds, 2),
            "differences": [_json(one) for one in self.differences],
        }

    def text(self) -> Iterator[str]:
        """For a person: the first disagreement with all there is to it, or that there is none."""
        if not self.differences:
            yield f"EndpointSlices = rules{' = traffic' if self.traffic else ''}: {self._what()}"
            return
        yield from _lines(self.differences[0])
        rest = len(self.differences) - 1
        if rest:
            yield ""
            yield f"and {rest} more: lab verify -o json"

    def _what(self) -> str:
        modes = sorted({view.mode for view in self.rules.views.values()})
        said = [
            f"{len(self.rules.objects.services)} Services on {len(self.rules.views)} nodes",
            f"{' and '.join(modes)} mode",
            f"{self._frontends()} addresses",
        ]
        if self.traffic:
            of = self.traffic
            some = "" if of.addresses == of.all_addresses else f" of {of.all_addresses}"
            said.append(f"{of.connections} connections to {of.addresses}{some} ClusterIP ports a node")
        return f"{', '.join(said)} ({duration(self.seconds)})"

    def _frontends(self) -> int:
        return sum(
            len(view.rules.services)
            for name, view in self.rules.views.items()
            if not any(
                one.layer == "unrecognised rule" and one.node == name for one in self.rules.differences
            )
        )


def _json(one: Difference) -> dict[str, Any]:
    return {
        "service": one.service,
        "node": one.node,
        "mode": one.mode,
        "address": str(one.frontend) if one.frontend else None,
        "layer": one.layer,
        "expected": one.expected,
        "seen": one.seen,
        "rules": list(one.raw),
    }


def _lines(one: Difference) -> Iterator[str]:
    rows = [
        ("Service", one.service or "none: it is about the whole node"),
        ("Node", f"{one.node}, {one.mode} mode"),
        ("Address", str(one.frontend or "")),
        ("Layer", one.layer),
        ("Expected", one.expected),
        ("Seen", one.seen),
    ]
    for name, value in rows:
        if value:
            yield f"{name:<10}{value}"
    for place, rule in enumerate(one.raw[:SHOWN]):
        yield f"{'Rules' if place == 0 else '':<10}{rule}"
    if len(one.raw) > SHOWN:
        yield f"{'':<10}and {len(one.raw) - SHOWN} more"
