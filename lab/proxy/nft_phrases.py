"""The phrases of which kube-proxy's nftables rules are made, recognised in `lab.proxy.nft_words`' strings."""

from __future__ import annotations

import re

from lab.proxy.model import Endpoint, UnrecognisedRule
from lab.proxy.nft_json import NftRule

MARK_CHAIN = "mark-for-masquerade"
"""Releases before 1.36 mark connections in a chain of its own."""

_MARKS = re.compile(rf"mark set mark \| \d+|jump {MARK_CHAIN}")
_PODS = re.compile(r"(ip saddr|iifname) (==|!=) (\S+)")
_DNAT = re.compile(r"dnat ([\d.]+):(\d+)")
_NAME = re.compile(r"(?:service|local|external|firewall)-[A-Z2-7]{8}-([^/]+)/([^/]+)/(tcp|udp|sctp)/([^/]*)")


def marks(statement: str) -> bool:
    """Whether a statement marks the connection for masquerading."""
    return _MARKS.fullmatch(statement) is not None


def pods(statement: str, operator: str) -> str | None:
    """How a statement tells this node's pods (`==`) or everything else (`!=`); None if it does not."""
    found = _PODS.fullmatch(statement)
    if found is None or found[2] != operator or found[3].startswith("@"):
        return None
    return found[3] if found[1] == "ip saddr" else f"iifname {found[3]}"


def service_name(chain: str) -> str | None:
    """`namespace/name:port name` out of the name of a Service's chain."""
    found = _NAME.fullmatch(chain)
    if found is None:
        return None
    return f"{found[1]}/{found[2]}" + (f":{found[4]}" if found[4] else "")


def kept(rule: NftRule) -> list[str]:
    """The outcomes that numbers below the modulus lead to; others never come up."""
    return [outcome for number, outcome in rule.choices.items() if 0 <= number < rule.modulus]


def address(key: str) -> Endpoint:
    """`10.244.1.2 . 8080` as an endpoint."""
    ip, _, port = key.partition(" . ")
    return ip, int(port)


def protocol_of(statement: str, rule: NftRule) -> str:
    """`TCP` out of `l4proto == tcp`."""
    if not statement.startswith("l4proto == "):
        raise UnrecognisedRule(rule.raw, f"{statement!r} is not known there", where=rule.chain)
    return statement.removeprefix("l4proto == ").upper()


def translation(rule: NftRule) -> tuple[Endpoint, str]:
    """`meta l4proto tcp dnat to IP:PORT`."""
    if len(rule.statements) == 2 and (found := _DNAT.fullmatch(rule.statements[1])):
        return (found[1], int(found[2])), protocol_of(rule.statements[0], rule)
    raise UnrecognisedRule(rule.raw, "it is not known there", where=rule.chain)
