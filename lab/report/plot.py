"""The distribution plot: each client's backends within the bounds of an even spread, in units of SVG."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from lab.report.model import Distribution

WIDTH = 360.0
LEFT, RIGHT, TOP, BOTTOM = 112.0, 12.0, 6.0, 24.0
LINE, GAP = 15.0, 9.0
"""Height of one backend, and between two clients."""
LEAST = 10.0
"""Connections that an axis spans at least."""


@dataclass(frozen=True)
class Mark:
    """One backend: its dot at `seen`, the bar of its bounds from `low` to `high`, a tick at `expected`."""

    name: str
    y: float
    seen: float
    low: float
    high: float
    expected: float
    inside: bool
    text: str


@dataclass(frozen=True)
class Group:
    """One client; the whole of it is even or not."""

    client: str
    y: float
    even: bool
    marks: tuple[Mark, ...]


@dataclass(frozen=True)
class Plot:
    """All clients of one path in one mode. `ticks` are (x, label) of the axis."""

    mode: str
    path: str
    height: float
    groups: tuple[Group, ...]
    ticks: tuple[tuple[float, str], ...]
    samples: tuple[Distribution, ...]

    @property
    def told(self) -> str:
        """The plot in words, for who does not see it."""
        wrong = [group.client for group in self.groups if not group.even]
        clients = ", ".join(group.client for group in self.groups)
        verdict = f"not even for {', '.join(wrong)}" if wrong else "even for every client"
        return f"Connections by backend over {self.path} in {self.mode} mode, from {clients}: {verdict}"


def plots(distributions: Iterable[Distribution]) -> list[Plot]:
    """One plot for each mode and path, in the order they were measured."""
    found: dict[tuple[str, str], list[Distribution]] = {}
    for sample in distributions:
        found.setdefault((sample.mode, sample.path), []).append(sample)
    return [_plot(mode, path, samples) for (mode, path), samples in found.items()]


def _plot(mode: str, path: str, samples: list[Distribution]) -> Plot:
    counts = [count for sample in samples for count in sample.counts.values()]
    least = min(min(count.low, count.seen) for count in counts)
    most = max(max(count.high, count.seen) for count in counts)
    pad = max((LEAST - (most - least)) / 2, (most - least) * 0.05, 0.5)
    least, most = least - pad, most + pad

    def x(value: float) -> float:
        return round(LEFT + (value - least) / (most - least) * (WIDTH - LEFT - RIGHT), 1)

    groups, y = [], TOP
    for sample in samples:
        top, marks = y, []
        for name, count in sample.counts.items():
            inside = count.low <= count.seen <= count.high
            text = (
                f"{name}: {count.seen} connections, {count.expected:.1f} expected, "
                f"even from {count.low:.1f} to {count.high:.1f}"
            )
            marks.append(
                Mark(
                    name,
                    y + LINE / 2,
                    x(count.seen),
                    x(count.low),
                    x(count.high),
                    x(count.expected),
                    inside,
                    text,
                )
            )
            y += LINE
        groups.append(Group(sample.client, round((top + y) / 2, 1), sample.even, tuple(marks)))
        y += GAP
    step = _step(most - least)
    first = int(least // step + 1)
    ticks = [(x(n * step), f"{n * step:g}") for n in range(first, int(most // step) + 1) if n >= 0]
    return Plot(mode, path, y + BOTTOM, tuple(groups), tuple(ticks), tuple(samples))


def _step(span: float) -> float:
    """A round distance of about four ticks over the span."""
    for size in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000):
        if span / size <= 5:
            return float(size)
    return span / 4
