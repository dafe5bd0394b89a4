"""JSON of `nft -j list table …` into chains, sets and maps; it knows nothing of Kubernetes.

Each statement of a rule becomes one short string in nft's own manner (`ip daddr == @cluster-ips`,
`goto external-…`), so that a reader compares strings. A piece that cannot be said so raises.
Upstream: libnftables-json(5). Written against what nft 1.0.6 and later print.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from lab.proxy.model import UnreadableDump, UnrecognisedRule

Json = Any
"""A value out of json.loads; every use checks its shape."""

_VERDICTS = {"jump", "goto"}
_OPERATORS = {"&", "|", "^"}


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
        for statement in body["expr"]:
            (what, value), *_ = statement.items()
            if what == "counter" and isinstance(value, dict):
                continue  # an anonymous counter, as an operator may add for a look
            statements.append(_statement(what, value))
            numbered = value.get("addr") if what == "dnat" else value if what == "vmap" else None
            if isinstance(numbered, dict) and "map" in numbered:
                numbered = numbered["map"]
            if isinstance(numbered, dict) and "numgen" in numbered["key"]:
                modulus = int(numbered["key"]["numgen"]["mod"])
                choices = _choices(numbered["data"]["set"])
        return NftRule(body["chain"], tuple(statements), choices, modulus, raw)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UnrecognisedRule(raw, f"{type(error).__name__}: {error}", where=body["chain"]) from error


def _choices(items: list[list[Json]]) -> dict[int, str]:
    chosen: dict[int, str] = {}
    for key, outcome in items:
        first, last = key["range"] if isinstance(key, dict) else (key, key)
        for number in range(int(first), int(last) + 1):
            chosen[number] = _expression(outcome)
    return chosen


def _statement(what: str, value: Json) -> str:
    if what == "match":
        # How nft spells a test of flags differs by release: `ct state new` is the same as `ct state == new`.
        operator = "==" if value["op"] in ("in", "==") else value["op"]
        return f"{_expression(value['left'])} {operator} {_expression(value['right'])}"
    if what in _VERDICTS:
        return f"{what} {value['target']}"
    if what == "vmap":
        if "numgen" in value["key"]:
            return f"vmap {_expression(value['key'])}"
        return f"vmap {_expression(value['key'])} {_expression(value['data'])}"
    if what == "mangle":
        return f"{_expression(value['key'])} set {_expression(value['value'])}"
    if what == "dnat":
        if isinstance(value["addr"], dict):
            return f"dnat map {_expression(value['addr']['map']['key'])}"
        return f"dnat {value['addr']}:{value['port']}"
    if what == "masquerade":
        flags = (value or {}).get("flags", ())
        return " ".join(["masquerade", *([flags] if isinstance(flags, str) else flags)])
    if what == "set":
        return f"{value['op']} {value['set']} {_expression(value['elem'])}"
    if what == "counter":
        return f"counter {value}"
    if what in ("drop", "accept", "return") and value is None:
        return what
    if what == "reject":
        kind = "port-unreachable" if value is None else value.get("expr", "port-unreachable")
        return "reject" if kind == "port-unreachable" else f"reject {kind}"
    raise ValueError(f"statement {what!r} is not known")


def _expression(value: Json) -> str:
    if isinstance(value, (str, int)):
        return str(value)
    (what, body), *_ = value.items()
    if what == "payload":
        return f"{body['protocol']} {body['field']}"
    if what == "meta":
        return str(body["key"])
    if what == "ct":
        return f"ct {body['key']}"
    if what == "fib":
        flags = [body["flags"]] if isinstance(body["flags"], str) else body["flags"]
        return f"fib {' . '.join(flags)} {body['result']}"
    if what == "prefix":
        return f"{body['addr']}/{body['len']}"
    if what == "range":
        return f"{body[0]}-{body[1]}"
    if what == "concat":
        return " . ".join(_expression(part) for part in body)
    if what == "set":
        return "{ " + ", ".join(_expression(part) for part in body) + " }"
    if what == "numgen":
        if body["mode"] != "random" or body.get("offset", 0) != 0:
            raise ValueError(f"numgen {body} is not known")
        return f"numgen random mod {body['mod']}"
    if what in _OPERATORS:
        return f"{_expression(body[0])} {what} {_expression(body[1])}"
    if what == "elem":
        return _expression(body["val"])
    if what in _VERDICTS:
        return f"{what} {body['target']}"
    if what in ("drop", "accept", "return") and body is None:
        return what
    raise ValueError(f"expression {what!r} is not known")


def _element(item: Json) -> Element:
    raw = json.dumps(item, separators=(",", ":"))
    try:
        key, value = item if isinstance(item, list) else (item, None)
        comment = None
        if isinstance(key, dict) and "elem" in key:
            comment = key["elem"].get("comment")
        words = _expression(key).split(" . ")
        return Element(tuple(words), None if value is None else _expression(value), comment, raw)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UnrecognisedRule(raw, f"{type(error).__name__}: {error}") from error
