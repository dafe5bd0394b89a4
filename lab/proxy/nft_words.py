"""nft's JSON statements and expressions as short strings in nft's own manner.

One entry a kind: what is not in these tables is not known, and raises KeyError. How nft spells things
differs by release (1.0.6 to 1.1.x are known here); the strings do not.
Upstream: libnftables-json(5).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Json = Any
"""A value out of json.loads; every use checks its shape by taking it apart."""


def expression(value: Json) -> str:
    """An expression, `ip daddr . th dport` or `10.0.0.0/8` say; numbers are decimal.

    Raises:
        KeyError, TypeError, ValueError, AttributeError: it is of no known kind or shape.
    """
    if isinstance(value, (str, int)):
        return str(value)
    (what, body), *_ = value.items()
    return _EXPRESSIONS[what](body)


def statement(what: str, body: Json) -> str:
    """A statement, `ip daddr == @cluster-ips` or `goto external-…` say; raises as `expression` does."""
    return _STATEMENTS[what](body)


def _numgen(body: Json) -> str:
    if body["mode"] != "random" or body.get("offset", 0) != 0:
        raise ValueError(f"numgen {body}")
    return f"numgen random mod {body['mod']}"


def _flags(body: Json) -> list[str]:
    """Flags are a string if there is one, else a list."""
    return [body] if isinstance(body, str) else list(body)


def _operator(sign: str) -> Callable[[Json], str]:
    return lambda body: f"{expression(body[0])} {sign} {expression(body[1])}"


def _target(verdict: str) -> Callable[[Json], str]:
    return lambda body: f"{verdict} {body['target']}"


def _bare(verdict: str) -> Callable[[Json], str]:
    def words(body: Json) -> str:
        if body is not None:
            raise ValueError(f"{verdict} {body}")
        return verdict

    return words


_VERDICTS: dict[str, Callable[[Json], str]] = {
    "jump": _target("jump"),
    "goto": _target("goto"),
    "drop": _bare("drop"),
    "accept": _bare("accept"),
    "return": _bare("return"),
}

_EXPRESSIONS: dict[str, Callable[[Json], str]] = {
    **_VERDICTS,
    "&": _operator("&"),
    "|": _operator("|"),
    "^": _operator("^"),
    "concat": lambda body: " . ".join(map(expression, body)),
    "ct": lambda body: f"ct {body['key']}",
    "elem": lambda body: expression(body["val"]),
    "fib": lambda body: f"fib {' . '.join(_flags(body['flags']))} {body['result']}",
    "meta": lambda body: str(body["key"]),
    "numgen": _numgen,
    "payload": lambda body: f"{body['protocol']} {body['field']}",
    "prefix": lambda body: f"{body['addr']}/{body['len']}",
    "range": lambda body: f"{body[0]}-{body[1]}",
    "set": lambda body: "{ " + ", ".join(map(expression, body)) + " }",
}


def _match(body: Json) -> str:
    # `ct state new` is "in" for one release of nft and "==" for another.
    sign = "==" if body["op"] == "in" else body["op"]
    return f"{expression(body['left'])} {sign} {expression(body['right'])}"


def _vmap(body: Json) -> str:
    # The outcomes of a random number are read as data, not as words.
    data = [] if "numgen" in body["key"] else [expression(body["data"])]
    return " ".join(["vmap", expression(body["key"]), *data])


def _dnat(body: Json) -> str:
    if isinstance(body["addr"], dict):
        return f"dnat map {expression(body['addr']['map']['key'])}"
    return f"dnat {body['addr']}:{body['port']}"


def _reject(body: Json) -> str:
    why = "port-unreachable" if body is None else body.get("expr", "port-unreachable")
    return "reject" if why == "port-unreachable" else f"reject {why}"


_STATEMENTS: dict[str, Callable[[Json], str]] = {
    **_VERDICTS,
    "counter": lambda body: f"counter {body}",
    "dnat": _dnat,
    "mangle": lambda body: f"{expression(body['key'])} set {expression(body['value'])}",
    "masquerade": lambda body: " ".join(["masquerade", *_flags((body or {}).get("flags", ()))]),
    "match": _match,
    "reject": _reject,
    "set": lambda body: f"{body['op']} {body['set']} {expression(body['elem'])}",
    "vmap": _vmap,
}
