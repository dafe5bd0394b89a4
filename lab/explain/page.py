"""An explanation as one HTML page: no script, nothing from the network, for any width, light and dark."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from lab.explain import picture, words
from lab.explain.explanation import KINDS, Explanation
from lab.explain.outcomes import sentences
from lab.explain.walk import Step, Walk

STYLE = """
:root{color-scheme:light dark;--back:#fff;--text:#1c2330;--dim:#5b6576;--line:#c9d1dc;--card:#f5f7fa;
--address:#dbe9ff;--chain:#eef1f6;--end:#dcf5e3;--refused:#ffe1de;--accent:#1456c8}
@media (prefers-color-scheme:dark){:root{--back:#12161d;--text:#e6eaf1;--dim:#98a3b5;--line:#38424f;--card:#1a2029;
--address:#1c3765;--chain:#232b37;--end:#17402a;--refused:#54221f;--accent:#8ab4ff}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:60rem;padding:1rem;background:var(--back);color:var(--text);
font:16px/1.5 system-ui,sans-serif;overflow-wrap:anywhere}
h1{font-size:1.4rem;margin:.3rem 0}h2{font-size:1.1rem;margin:2rem 0 .5rem;border-top:1px solid var(--line);padding-top:1rem}
p{margin:.4rem 0}.dim{color:var(--dim)}code{font:13px/1.45 ui-monospace,monospace}
.sides{display:grid;gap:1rem;grid-template-columns:1fr}
@media (min-width:52rem){.sides{grid-template-columns:minmax(0,1fr) minmax(0,1fr)}}
svg{width:100%;max-width:34rem;height:auto;font-family:system-ui,sans-serif}
svg rect{fill:var(--chain);stroke:var(--line)}svg .address rect{fill:var(--address)}svg .end rect{fill:var(--end)}
svg .refused rect{fill:var(--refused)}svg .line{fill:none;stroke:var(--dim);stroke-width:1.5}
svg text{fill:var(--text)}svg .name{font:11px ui-monospace,monospace}svg .below,svg .head{font-size:10.5px;fill:var(--dim)}
svg .share{font-size:12.5px;font-weight:600;fill:var(--accent)}svg .unused{opacity:.45}
dl{margin:0;background:var(--card);border-radius:.5rem;padding:.6rem .9rem}dt{font-weight:600;margin-top:.4rem}
dd{margin:0 0 0 1rem}
details{margin-top:.8rem}summary{cursor:pointer;color:var(--accent)}
ol{list-style:none;margin:.5rem 0 0;padding:0}
li{border-left:3px solid var(--line);padding:.25rem 0 .25rem .6rem;margin:.15rem 0}
li.hit{border-color:var(--accent)}li.miss{opacity:.6}
li.d1{margin-left:.8rem}li.d2{margin-left:1.6rem}li.d3{margin-left:2.4rem}li.d4{margin-left:3.2rem}li.d5{margin-left:4rem}
li .chain{color:var(--dim);font-size:.8rem}li b{color:var(--accent)}li code{display:block;color:var(--dim)}
"""


def render(told: Explanation) -> str:
    """The page."""
    title = f"{told.service} on {told.node}"
    body = [
        f"<h1>{escape(told.service)}</h1>",
        f"<p>{escape(told.type)}, as programmed on <strong>{escape(told.node)}</strong> in {escape(told.mode)} mode.</p>",
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
        yield f"<dt>From {escape(outcome.client.name)} <span class=dim>({escape(outcome.client.address)})</span></dt>"
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
    counted = "" if step.packets is None else f" · {step.packets} connections so far"
    shares = " · ".join(
        f"{escape(name)} <b>{words.share(step.shares[name])}</b>" for name in names if step.shares.get(name)
    )
    return (
        f'<li class="{hit} d{min(step.depth, 5)}"><span class="chain">{escape(step.chain)}{counted}</span><br>'
        f"{escape(step.words)} <span class=dim>— {shares or 'none of these clients'}</span>"
        f"<code>{escape(step.rule)}</code></li>"
    )
