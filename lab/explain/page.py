"""An explanation as one HTML page: no script, nothing from the network, for any width, light and dark."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from importlib.resources import files

from lab.explain import picture, words
from lab.explain.explanation import KINDS, Explanation
from lab.explain.outcomes import sentences
from lab.explain.walk import Step, Walk

STYLE = files("lab.explain").joinpath("page.css").read_text()


def render(told: Explanation) -> str:
    """The page."""
    title = f"{told.service} on {told.node}"
    body = [
        f"<h1>{escape(told.service)}</h1>",
        f"<p>{escape(told.type)}, as programmed on <strong>{escape(told.node)}</strong>",
        f"in {escape(told.mode)} mode.</p>",
        *(f"<p>{escape(note)}</p>" for note in told.notes),
        *_behind(told),
    ]
    for walk in told.walks:
        body += _walk(told, walk)
    return "\n".join(
        [
            '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width,initial-scale=1">',
            f"<title>{escape(title)}</title><style>{STYLE}</style></head><body>",
            *body,
            "</body></html>\n",
        ]
    )


def _behind(told: Explanation) -> Iterator[str]:
    if not told.behind:
        return
    yield f"<details{' open' if not told.walks else ''}><summary>{len(told.behind)} endpoints</summary><ol>"
    for (ip, port), backing in told.behind.items():
        yield f'<li><code>{ip}:{port}</code> <span class="dim">{escape(str(backing))}</span></li>'
    yield "</ol></details>"


def _walk(told: Explanation, walk: Walk) -> Iterator[str]:
    port = f" <span class=dim>port {escape(walk.port)}</span>" if walk.port else ""
    yield f"<section><h2>{KINDS[walk.kind]} {walk.to}{port}</h2>"
    yield f'<div class="sides"><div>{picture.svg(told, walk)}</div><dl>'
    for outcome in walk.outcomes:
        client = outcome.client
        yield f"<dt>From {escape(client.name)} <span class=dim>({escape(client.address)})</span></dt>"
        for sentence in sentences(told, walk, outcome):
            yield f"<dd>{escape(sentence)}</dd>"
    yield "</dl></div>"
    yield f"<details open><summary>The {len(walk.steps)} rules on the way</summary><ol>"
    names = [outcome.client.name for outcome in walk.outcomes]
    for step in walk.steps:
        yield _rule(step, names)
    yield "</ol></details></section>"


def _rule(step: Step, names: list[str]) -> str:
    hit = "hit" if any(step.shares.values()) else "miss"
    counted = "" if step.packets is None else f" · matched {step.packets} times"
    shares = " · ".join(
        f"{escape(name)} <b>{words.share(step.shares[name])}</b>" for name in names if step.shares.get(name)
    )
    return (
        f'<li class="{hit} d{min(step.depth, 5)}">'
        f'<span class="chain">{escape(step.chain)}{counted}</span><br>'
        f"{escape(step.words)} <span class=dim>— {shares or 'none of these clients'}</span>"
        f"<code>{escape(step.rule)}</code></li>"
    )
