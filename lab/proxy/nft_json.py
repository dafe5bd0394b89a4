"""JSON of `nft -j list table …` into chains, sets and maps; it knows nothing of Kubernetes.

Each statement of a rule becomes one short string (see `lab.proxy.nft_words`), so that a reader compares
strings. A piece that cannot be said so raises.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from lab.proxy.model import UnreadableDump, UnrecognisedRule
from lab.proxy.nft_words import Json, expression, statement

# What taking apart JSON of an unexpected shape raises.
_ODD = (KeyError, TypeError, ValueError, AttributeError)


@dataclass(frozen=True, slots=True)
class NftRule:
    """One rule: its statements as strings, and the JSON they were read from."""

    chain: str
    statements: tuple[str, ...]
    choices: dict[int, str]
    """Of a `numgen` map in the rule: each number's outcome (`10.0.0.1 . 80` or `goto …`); else empty."""
    modulus: int
    raw: str


@dataclass(slots=True)
class NftChain:
    """One chain; `hook` is None unless it is a base chain."""

    hook: str | None
    rules: list[NftRule] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Element:
    """One element of a set or map."""

    key: tuple[str, ...]
    value: str | None
    comment: str | None
    raw: str


@dataclass(slots=True)
class NftTable:
    """One table."""

    chains: dict[str, NftChain] = field(default_factory=dict)
    elements: dict[str, list[Element]] = field(default_factory=dict)
    """Elements of each set and map by its name."""
    timeouts: dict[str, int] = field(default_factory=dict)
    """Seconds after which a set forgets an element, by the set's name."""


def parse(text: str) -> NftTable | None:
    """One table; None if the text is empty or lists none.

    Raises:
        UnreadableDump: the text is not such JSON.
        UnrecognisedRule: a rule has a piece that is not known.
    """
    if not text.strip():
        return None
    try:
        objects = json.loads(text)["nftables"]
    except (ValueError, KeyError, TypeError) as error:
        raise UnreadableDump("nft did not print a JSON listing", details=[str(error)]) from error
    table: NftTable | None = None
    for entry in objects:
        (what, body), *_ = entry.items()
        if what == "metainfo":
            continue
        table = table or NftTable()
        if what == "chain":
            table.chains[body["name"]] = NftChain(body.get("hook"))
        elif what == "rule":
            table.chains[body["chain"]].rules.append(_rule(body))
        elif what in ("set", "map"):
            table.elements[body["name"]] = [_element(item) for item in body.get("elem", ())]
            if "timeout" in body:
                table.timeouts[body["name"]] = int(body["timeout"])
        elif what not in ("table", "counter"):
            raise UnrecognisedRule(json.dumps(entry), f"a {what} is not known in a table of kube-proxy's")
    return table


def _rule(body: dict[str, Json]) -> NftRule:
    raw = json.dumps({"chain": body["chain"], "expr": body["expr"]}, separators=(",", ":"))
    try:
        statements: list[str] = []
        choices: dict[int, str] = {}
        modulus = 0
        for item in body["expr"]:
            (what, value), *_ = item.items()
            if what == "counter" and isinstance(value, dict):
                continue  # an anonymous counter, as an operator may add for a look
            statements.append(statement(what, value))
            numbered = value.get("addr") if what == "dnat" else value if what == "vmap" else None
            if isinstance(numbered, dict) and "map" in numbered:
                numbered = numbered["map"]
            if isinstance(numbered, dict) and "numgen" in numbered["key"]:
                modulus = int(numbered["key"]["numgen"]["mod"])
                choices = _choices(numbered["data"]["set"])
        return NftRule(body["chain"], tuple(statements), choices, modulus, raw)
    except _ODD as error:
        raise UnrecognisedRule(raw, f"no such piece is known ({error!r})", where=body["chain"]) from error


def _choices(items: list[list[Json]]) -> dict[int, str]:
    chosen: dict[int, str] = {}
    for key, outcome in items:
        first, last = key["range"] if isinstance(key, dict) else (key, key)
        for number in range(int(first), int(last) + 1):
            chosen[number] = expression(outcome)
    return chosen


def _element(item: Json) -> Element:
    raw = json.dumps(item, separators=(",", ":"))
    try:
        key, value = item if isinstance(item, list) else (item, None)
        comment = None
        if isinstance(key, dict) and "elem" in key:
            comment = key["elem"].get("comment")
        words = expression(key).split(" . ")
        return Element(tuple(words), None if value is None else expression(value), comment, raw)
    except _ODD as error:
        raise UnrecognisedRule(raw, f"no such piece is known ({error!r})") from error
