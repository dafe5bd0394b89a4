"""The tests in kube-proxy's nftables rules, as functions of a connection; each with its words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address, ip_network

from lab.explain import words
from lab.explain.walk import Amount, Stream
from lab.proxy.nft_json import Element

Maps = Mapping[str, Mapping[tuple[str, ...], Element]]
"""Elements of each set and map by key, by its name."""


@dataclass(frozen=True, slots=True)
class Test:
    """One test.

    Attributes:
        holds: whether the connection passes it.
        words: the same for people; empty where it goes without saying.
        of_client: it is about who connects, not about the destination.
        remembers: the set of remembered clients that it looks in, for session affinity.
    """

    holds: Callable[[Stream, Amount], bool]
    words: str = ""
    of_client: bool = False
    remembers: str | None = None


def test_of(text: str, maps: Maps, own: frozenset[str]) -> Test | None:
    """The test that a statement is; None if it is none (a verdict, a mark, an update).

    Args:
        text: the statement (`lab.proxy.nft_words`).
        maps: the table's sets and maps.
        own: the node's addresses.
    """
    left, operator, right = _split(text)
    kind = "mark" if left.startswith("mark & ") else left
    make = _TESTS.get(kind)
    return make(right, operator == "==", maps, own) if make and operator else None


def _split(text: str) -> tuple[str, str, str]:
    for operator in ("==", "!="):
        left, found, right = text.partition(f" {operator} ")
        if found:
            return left, operator, right
    return text, "", ""


def _daddr(right: str, yes: bool, maps: Maps, _own: frozenset[str]) -> Test:
    inside = _inside(right, maps)
    said = {"@nodeport-ips": "", "@cluster-ips": "to a ClusterIP"}.get(right, f"to {right}")
    return Test(lambda stream, _: inside(stream.to.ip) is yes, said if yes else f"not {said}")


def _inside(right: str, maps: Maps) -> Callable[[str], bool]:
    if right.startswith("@"):
        elements = maps.get(right.removeprefix("@"), {})
        return lambda ip: (ip,) in elements
    networks = [ip_network(one.strip(), strict=False) for one in right.strip("{} ").split(",")]
    return lambda ip: any(ip_address(ip) in network for network in networks)


def _saddr(right: str, yes: bool, _maps: Maps, _own: frozenset[str]) -> Test:
    if right.startswith("@affinity-"):
        # Clients are taken to be new: none of them is remembered.
        return Test(lambda *_: False, words.REMEMBERED, True, right.removeprefix("@"))
    ways = [one.strip() for one in right.strip("{} ").split(",")]
    if "{" in right:
        said = f"from {'one of' if yes else 'none of'} {', '.join(ways)}"
    elif "/" in right:
        said = words.pods(right, yes=yes)
    else:
        said = f"from {right} itself"
    return Test(lambda stream, _: any(map(stream.client.within, ways)) is yes, said, True)


def _hairpin(right: str, yes: bool, maps: Maps, _own: frozenset[str]) -> Test:
    elements = maps.get(right.removeprefix("@"), {})

    def holds(stream: Stream, _: Amount) -> bool:
        ip, port, protocol = stream.to
        return ((stream.client.address, ip, protocol.lower(), str(port)) in elements) is yes

    return Test(holds, "from an endpoint on this node to itself (hairpin)", True)


def _mark(right: str, yes: bool, _maps: Maps, _own: frozenset[str]) -> Test:
    marked = (right == "0") is not yes
    said = "if they are marked" if marked else "if they are not marked"
    return Test(lambda _, amount: amount.marked is marked, said, True)


_TESTS: dict[str, Callable[[str, bool, Maps, frozenset[str]], Test]] = {
    "ip daddr": _daddr,
    "ip saddr": _saddr,
    "iifname": lambda right, yes, *_: Test(
        lambda stream, _: stream.client.pod is yes, words.pods(f"iifname {right}", yes=yes), True
    ),
    "fib saddr type": lambda _, yes, *__: Test(
        lambda stream, _: stream.client.local is yes, words.NODE, True
    ),
    "fib daddr type": lambda _, yes, __, own: Test(
        lambda stream, _: (stream.to.ip in own) is yes, "to an address of this node"
    ),
    "ip saddr . ip daddr . l4proto . th dport": _hairpin,
    "l4proto": lambda right, yes, *_: Test(lambda stream, _: (stream.to.protocol.lower() == right) is yes),
    "mark": _mark,
    # Connections are new, and translated once they leave for an endpoint.
    "ct state": lambda *_: Test(lambda *_: True),
    "ct status": lambda *_: Test(lambda *_: True),
}
