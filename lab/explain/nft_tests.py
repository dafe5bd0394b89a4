"""The tests in kube-proxy's nftables rules, as functions of a connection; each with its words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address, ip_network

from lab.explain import words
from lab.explain.walk import Amount, Stream
from lab.proxy.nft_json import Element

Maps = Mapping[str, Mapping[tuple[str, ...], Element]]


@dataclass(frozen=True, slots=True)
class Test:
    """One test.

    Attributes:
        holds: whether the connection passes it.
        words: the same for people; empty where it goes without saying.
        of_client: it is about who connects, not about the destination.
        timeout_set: the set of remembered clients that it looks in, for session affinity.
    """

    holds: Callable[[Stream, Amount], bool]
    words: str
    of_client: bool = False
    timeout_set: str | None = None


def test_of(text: str, maps: Maps, own: frozenset[str]) -> Test | None:
    """The test that a statement is; None if it is none (a verdict, a mark, a counter)."""
    left, operator, right = _split(text)
    yes = operator == "=="
    if left == "ip daddr":
        inside = _inside(right, maps)
        what = (
            ""
            if right.startswith("@nodeport-ips")
            else f"to {'a ClusterIP' if right == '@cluster-ips' else right}"
        )
        return Test(lambda stream, _: inside(stream.to.ip) is yes, what if yes else f"not {what}")
    if left == "ip saddr" and right.startswith("@affinity-"):
        # Clients are taken to be new: none of them is remembered.
        return Test(lambda *_: False, words.REMEMBERED, True, right.removeprefix("@"))
    if left in ("ip saddr", "iifname"):
        way = f"iifname {right}" if left == "iifname" else right
        told = (
            words.pods(way, yes=yes)
            if "/" in right or left == "iifname"
            else f"from {right}{' itself' if yes else ''}"
        )
        if "{" in right or (not yes and left == "ip saddr" and "," in right):
            told = f"from {'' if yes else 'none of '}{right}"
        ways = [one.strip() for one in right.strip("{} ").split(",")]
        if left == "iifname":
            return Test(lambda stream, _: stream.client.pod is yes, told, True)
        return Test(lambda stream, _: any(stream.client.within(one) for one in ways) is yes, told, True)
    if left.startswith("ip saddr . ip daddr"):
        pairs = maps.get(right.removeprefix("@"), {})
        return Test(
            lambda stream, _: (
                (
                    stream.client.address,
                    stream.to.ip,
                    stream.to.protocol.lower(),
                    str(stream.to.port),
                )
                in pairs
            ),
            "from an endpoint on this node to itself (hairpin)",
            True,
        )
    simple: dict[str, Test] = {
        "fib saddr type == local": Test(lambda stream, _: stream.client.local, words.NODE, True),
        "fib daddr type == local": Test(lambda stream, _: stream.to.ip in own, "to an address of this node"),
        "ct state == new": Test(lambda *_: True, ""),
        "ct status == dnat": Test(lambda *_: True, ""),
    }
    if text in simple:
        return simple[text]
    if left == "l4proto":
        return Test(lambda stream, _: (stream.to.protocol.lower() == right) is yes, "")
    if left.startswith("mark & "):
        wanted = (right == "0") is not yes
        said = "if they are marked" if wanted else "if they are not marked"
        return Test(lambda _, amount: amount.marked is wanted, said, True)
    return None


def _split(text: str) -> tuple[str, str, str]:
    for operator in (" == ", " != "):
        left, found, right = text.partition(operator)
        if found:
            return left, operator.strip(), right
    return text, "", ""


def _inside(right: str, maps: Maps) -> Callable[[str], bool]:
    if right.startswith("@"):
        elements = maps.get(right.removeprefix("@"), {})
        return lambda ip: (ip,) in elements
    networks = [ip_network(one.strip(), strict=False) for one in right.strip("{} ").split(",")]
    return lambda ip: any(ip_address(ip) in network for network in networks)
