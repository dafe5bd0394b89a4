"""An explanation for the terminal: lines of (style, text), indented as the rules lead to one another."""

from __future__ import annotations

from collections.abc import Iterator

from lab.explain import words
from lab.explain.explanation import KINDS, Explanation
from lab.explain.outcomes import sentences
from lab.explain.walk import Step, Walk

Line = list[tuple[str, str]]


def lines(told: Explanation) -> Iterator[Line]:
    """The whole explanation."""
    yield [("bold", told.service), ("", f"  {told.type}, as programmed on {told.node} in {told.mode} mode")]
    for note in told.notes:
        yield [("", note)]
    for (ip, port), backing in told.behind.items():
        yield [("dim", "  endpoint "), ("", f"{ip}:{port}"), ("dim", f"  {backing}")]
    for walk in told.walks:
        yield []
        yield from _walk(told, walk)


def _walk(told: Explanation, walk: Walk) -> Iterator[Line]:
    port = f"  port {walk.port}" if walk.port else ""
    yield [("bold", f"{KINDS[walk.kind]} {walk.to}"), ("dim", port)]
    names = [outcome.client.name for outcome in walk.outcomes]
    chain = None
    for step in walk.steps:
        indent = "  " * (step.depth + 1)
        if step.chain != chain:
            yield [("cyan", f"{indent}{step.chain}")]
            chain = step.chain
        hit = any(step.shares.values())
        counted = "" if step.packets is None else f"  [matched {step.packets} times]"
        yield [
            ("green" if hit else "dim", f"{indent}  {_shares(step, names)}"),
            ("" if hit else "dim", f"  {step.words}"),
        ]
        yield [("dim", f"{indent}  {' ' * len(_shares(step, names))}  {step.rule}{counted}")]
    for outcome in walk.outcomes:
        said = list(sentences(told, walk, outcome))
        yield [
            ("bold", f"  from {outcome.client.name}"),
            ("dim", f" ({outcome.client.address})"),
            ("", f": {said[0]}"),
        ]
        for more in said[1:]:
            yield [("", f"      {more}")]


def _shares(step: Step, names: list[str]) -> str:
    """`1/3`; where clients differ, whose: `1/3 of node01, outside`."""
    by_share: dict[str, list[str]] = {}
    for name in names:
        if share := step.shares.get(name):
            by_share.setdefault(words.share(share), []).append(name)
    whole = [
        text if len(who) == len(names) else f"{text} of {', '.join(who)}" for text, who in by_share.items()
    ]
    return "; ".join(whole) or words.NONE
