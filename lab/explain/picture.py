"""An SVG picture of one walk: address → chain → endpoints, with each client's share beside every line.

A tree from top to bottom, so that any number of endpoints fits a phone's width; colours are the page's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from html import escape

from lab.explain import words
from lab.explain.explanation import KINDS, Explanation
from lab.explain.walk import Walk
from lab.proxy.model import Refusal

WIDTH = 400
ROW = 46
INDENT = 16
COLUMN = 50
MOST = 40
"""Endpoints drawn; the rules below the picture have them all."""

# What boxes say below a chain's name; chains that all Services share, or of one endpoint, get no box.
_CHAINS = {
    "KUBE-SVC-": "choose among all endpoints",
    "KUBE-SVL-": "choose on this node only",
    "KUBE-EXT-": "an external address",
    "KUBE-FW-": "sources let through",
    "service-": "choose among all endpoints",
    "local-": "choose on this node only",
    "external-": "an external address",
    "firewall-": "sources let through",
    "virtual server": "",
}
_SHARED = ("service-endpoints-check", "firewall-check")
_REFUSED = {Refusal.REJECT: "refused at once", Refusal.DROP: "dropped"}

Shares = Mapping[str, Fraction]


@dataclass(frozen=True, slots=True)
class Row:
    """One box: what it is, what it says below that, how deep it hangs, and each client's share."""

    kind: str
    text: str
    below: str
    depth: int
    shares: Shares


def rows(told: Explanation, walk: Walk) -> list[Row]:
    """The tree, in the order it is drawn."""
    names = [outcome.client.name for outcome in walk.outcomes]
    found = [
        Row(
            "address",
            f"{walk.to.ip}:{walk.to.port}",
            f"{KINDS[walk.kind]}, {walk.to.protocol}",
            0,
            dict.fromkeys(names, Fraction(1)),
        )
    ]
    # How deep the box is that rules of each depth hang from.
    hangs = {0: 0}
    ends = 0
    for step in walk.steps:
        depth = hangs.get(step.depth, 0)
        if step.leads is not None:
            below = _chain(step.leads)
            shown = below is not None and any(step.shares.values())
            hangs[step.depth + 1] = depth + 1 if shown else depth
            if below is not None and shown:
                found.append(Row("chain", step.leads, below, depth + 1, step.shares))
        elif step.end is not None:
            ends += 1
            if ends <= MOST:
                backing = told.behind.get(step.end)
                text = f"{step.end[0]}:{step.end[1]}"
                found.append(Row("end", text, str(backing or ""), depth + 1, step.shares))
    if ends > MOST:
        found.append(Row("more", f"and {ends - MOST} more endpoints", "", 1, {}))
    for how in Refusal:
        shares = {one.client.name: one.refused.get(how, Fraction(0)) for one in walk.outcomes}
        if any(shares.values()):
            found.append(Row("refused", _REFUSED[how], "", 1, shares))
    passed = {one.client.name: one.passed for one in walk.outcomes}
    if any(passed.values()):
        found.append(Row("passed", "no rule of kube-proxy's", "passed on as they are", 1, passed))
    return found


def _chain(name: str) -> str | None:
    """What a chain is for; None if it gets no box."""
    if name in _SHARED:
        return None
    return next((said for start, said in _CHAINS.items() if name.startswith(start)), None)


def svg(told: Explanation, walk: Walk) -> str:
    """The picture."""
    names = [outcome.client.name for outcome in walk.outcomes]
    tree = rows(told, walk)
    head = 34
    height = head + ROW * len(tree) + 4
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {height}" role="img" xmlns="http://www.w3.org/2000/svg">',
        f"<title>{escape(f'{walk.to}: which endpoints new connections go to')}</title>",
        *_heads(names),
        *_lines(tree, head),
    ]
    for place, row in enumerate(tree):
        parts += _box(row, names, head + place * ROW)
    return "\n".join([*parts, "</svg>"])


def _right(names: list[str], place: int) -> float:
    """The middle of a client's column."""
    return WIDTH - COLUMN * (len(names) - place) + COLUMN / 2


def _heads(names: list[str]) -> Iterator[str]:
    for place, name in enumerate(names):
        said = _short(name.removeprefix("a "), 9)
        if name.startswith("a pod"):
            said = "a pod"
        yield f'<text class="head" x="{_right(names, place):g}" y="20">{escape(said)}</text>'


def _lines(tree: list[Row], head: int) -> Iterator[str]:
    """From each box up and to the box that it hangs from."""
    above: dict[int, int] = {}
    for place, row in enumerate(tree):
        above[row.depth] = place
        if row.depth == 0:
            continue
        parent = above.get(row.depth - 1, 0)
        x = 8 + INDENT * (row.depth - 1) + 6
        y, top = head + place * ROW + 19, head + parent * ROW + 38
        used = "" if any(row.shares.values()) else " unused"
        yield f'<path class="line{used}" d="M{x} {top}V{y}H{8 + INDENT * row.depth}"/>'


def _box(row: Row, names: list[str], y: float) -> Iterator[str]:
    x = 8 + INDENT * row.depth
    width = WIDTH - COLUMN * len(names) - x - 4
    used = "" if any(row.shares.values()) else " unused"
    room = int((width - 12) / 6.7)
    small = int((width - 12) / 5.6)
    yield f'<g class="{row.kind}{used}"><title>{escape(f"{row.text} {row.below}".strip())}</title>'
    yield f'<rect x="{x}" y="{y:g}" width="{width}" height="38" rx="6"/>'
    middle = y + (17 if row.below else 23)
    yield f'<text class="name" x="{x + 7}" y="{middle:g}">{escape(_short(row.text, room))}</text>'
    if row.below:
        yield f'<text class="below" x="{x + 7}" y="{y + 31:g}">{escape(_short(row.below, small))}</text>'
    for place, name in enumerate(names):
        share = row.shares.get(name, Fraction(0))
        said = words.share(share) if share else words.NONE
        yield f'<text class="share" x="{_right(names, place):g}" y="{y + 23:g}">{said}</text>'
    yield "</g>"


def _short(text: str, room: int) -> str:
    return text if len(text) <= room else f"{text[: max(1, room - 1)]}…"
