"""The hooks of the kernel that new connections pass on a node, in order: one course for each proxy mode."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from fractions import Fraction
from importlib import import_module

from lab.explain.walk import Amount, Client, Flow, Record, Stream, Walk, seen_from
from lab.proxy.model import Frontend, Kind
from lab.proxy.node import Node

# A new proxy mode is one file and one line here.
_CLASSES = {
    "iptables": "lab.explain.iptables:IptablesCourse",
    "ipvs": "lab.explain.ipvs:IpvsCourse",
    "nftables": "lab.explain.nftables:NftablesCourse",
}


class Course(ABC):
    """One node's rules, read once and walked for any address.

    Args:
        outputs: the node's dumps (`lab.proxy.commands`); counters are shown where iptables' rules have them.
        node: whose they are.
    """

    def __init__(self, outputs: Mapping[str, str], node: Node) -> None:
        self.node = node
        self.own: frozenset[str] = frozenset((*node.addresses, *node.bound))
        """Addresses that are the node's own; those bound for ipvs are too."""
        self.read(outputs)

    @abstractmethod
    def read(self, outputs: Mapping[str, str]) -> None:
        """Take the dumps apart."""

    @abstractmethod
    def follow(self, to: Frontend, flow: Flow, record: Record) -> None:
        """Walk the hooks, from arrival until the packets leave for an endpoint."""

    def walk(self, to: Frontend, kind: Kind, port: str, clients: Iterable[Client]) -> Walk:
        """The way of all these clients' new connections to one address.

        Raises:
            UnrecognisedRule: a rule on the way is not understood.
        """
        record = Record()
        seen = [seen_from(client, to, self.own, self.node.address) for client in clients]
        self.follow(to, {Stream(client, to): Amount(Fraction(1), False) for client in seen}, record)
        return Walk(to, kind, port, tuple(record.steps), tuple(map(record.outcome, seen)))


def course(mode: str, outputs: Mapping[str, str], node: Node) -> Course:
    """The course of a mode.

    Raises:
        UnreadableDump: a dump is none.
    """
    module, _, name = _CLASSES[mode].partition(":")
    made: Course = getattr(import_module(module), name)(outputs, node)
    return made


def local(flow: Flow) -> Flow:
    """What the node's own processes send: it passes other hooks."""
    return {stream: amount for stream, amount in flow.items() if stream.client.local}


def arriving(flow: Flow) -> Flow:
    """What comes from the network or from pods."""
    return {stream: amount for stream, amount in flow.items() if not stream.client.local}
