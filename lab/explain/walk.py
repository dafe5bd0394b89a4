"""A walk: every rule that new connections to an address meet on a node, and what becomes of each client's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from ipaddress import ip_address, ip_network
from typing import NamedTuple

from lab.proxy.model import Endpoint, Frontend, Kind, Refusal


@dataclass(frozen=True, slots=True)
class Client:
    """Who connects, as the node sees it."""

    name: str
    address: str
    """The source of its packets."""
    local: bool = False
    """A process of the node itself."""
    pod: bool = False
    """A pod on the node."""

    def within(self, cidr: str) -> bool:
        """Whether its packets come from a network or range (`10.0.0.1-10.0.0.9`)."""
        first, _, last = cidr.partition("-")
        if last:
            return ip_address(first) <= ip_address(self.address) <= ip_address(last)  # type: ignore[operator]
        return ip_address(self.address) in ip_network(cidr, strict=False)

    def is_pod(self, way: str) -> bool:
        """Whether a rule that tells pods by this (a CIDR, or `iifname …`) takes it for one of the node's."""
        return self.pod if way.startswith("iifname ") else self.within(way)


class Stream(NamedTuple):
    """New connections of one client on their way to an address."""

    client: Client
    to: Frontend


class Amount(NamedTuple):
    """How much of them: their share of all the client's, and whether they are marked for masquerading."""

    share: Fraction
    marked: bool


Flow = dict[Stream, Amount]
NOTHING = Fraction(0)


def part(flow: Flow, shares: Mapping[Stream, Fraction]) -> Flow:
    """So much of each stream."""
    return {
        stream: Amount(amount.share * shares[stream], amount.marked)
        for stream, amount in flow.items()
        if shares[stream]
    }


def rest(flow: Flow, taken: Flow) -> Flow:
    """What is left of each stream."""
    left = {
        stream: Amount(amount.share - taken[stream].share if stream in taken else amount.share, amount.marked)
        for stream, amount in flow.items()
    }
    return {stream: amount for stream, amount in left.items() if amount.share}


def join(*flows: Flow) -> Flow:
    """Streams together again; a mark on any part of a stream is a mark on it."""
    found: Flow = {}
    for flow in flows:
        for stream, amount in flow.items():
            known = found.get(stream, Amount(NOTHING, False))
            found[stream] = Amount(known.share + amount.share, known.marked or amount.marked)
    return found


@dataclass(frozen=True, slots=True)
class Step:
    """One rule on the way.

    Attributes:
        chain: where it stands: `nat KUBE-SERVICES`, `map service-ips`, `ipvs`.
        depth: how many jumps lead there.
        rule: the rule as its own tool prints it, without counters.
        words: what it does, in plain words.
        packets: how often it has matched; None where nothing counts that.
        shares: of each client's new connections, what this rule takes, by the client's name; none: it
            does not match that client.
        end: the endpoint it sends them to, if it is the one that chooses.
        leads: the chain it sends them to, if it does.
    """

    chain: str
    depth: int
    rule: str
    words: str
    packets: int | None
    shares: Mapping[str, Fraction]
    end: Endpoint | None = None
    leads: str | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What becomes of one client's new connections; the shares add up to 1.

    Attributes:
        ends: endpoint to its share.
        masqueraded: those endpoints that see the node's address instead of the client's.
        refused: how the rest is refused, and the share.
        passed: the share that no rule of kube-proxy's has anything to do with.
        sticky: seconds for which a client that has been there keeps its endpoint.
    """

    client: Client
    ends: Mapping[Endpoint, Fraction]
    masqueraded: frozenset[Endpoint]
    refused: Mapping[Refusal, Fraction]
    passed: Fraction
    sticky: int | None


@dataclass(frozen=True, slots=True)
class Walk:
    """The way to one address on one node."""

    to: Frontend
    kind: Kind
    port: str
    """The Service port's name; empty if it has none."""
    steps: tuple[Step, ...]
    outcomes: tuple[Outcome, ...]


@dataclass(slots=True)
class Record:
    """A walk in the making; the modes' courses fill it in."""

    steps: list[Step] = field(default_factory=list)
    arrived: dict[tuple[Client, Endpoint], Amount] = field(default_factory=dict)
    refused: dict[Client, dict[Refusal, Fraction]] = field(default_factory=dict)
    masqueraded: set[tuple[Client, Endpoint]] = field(default_factory=set)
    sticky: int | None = None

    def step(
        self,
        chain: str,
        depth: int,
        rule: str,
        words: str,
        taken: Flow,
        *,
        packets: int | None = None,
        end: Endpoint | None = None,
        leads: str | None = None,
    ) -> None:
        """Note a rule with what it takes."""
        shares: dict[str, Fraction] = {}
        for stream, amount in taken.items():
            shares[stream.client.name] = shares.get(stream.client.name, NOTHING) + amount.share
        self.steps.append(Step(chain, depth, rule, words, packets, shares, end, leads))

    def arrive(self, taken: Flow, end: Endpoint) -> None:
        """These connections have got their endpoint."""
        for stream, amount in taken.items():
            known = self.arrived.get((stream.client, end), Amount(NOTHING, False))
            self.arrived[stream.client, end] = Amount(
                known.share + amount.share, known.marked or amount.marked
            )

    def refuse(self, taken: Flow, how: Refusal) -> None:
        """These are refused."""
        for stream, amount in taken.items():
            of_client = self.refused.setdefault(stream.client, {})
            of_client[how] = of_client.get(how, NOTHING) + amount.share

    def leaving(self, protocol: str) -> Flow:
        """What has an endpoint, on its way there."""
        return {
            Stream(client, Frontend(*end, protocol)): amount
            for (client, end), amount in self.arrived.items()
            if amount.share
        }

    def outcome(self, client: Client) -> Outcome:
        """What became of one client's connections."""
        ends = {
            end: amount.share for (who, end), amount in self.arrived.items() if who == client and amount.share
        }
        refused = self.refused.get(client, {})
        return Outcome(
            client,
            dict(sorted(ends.items())),
            frozenset(end for end in ends if (client, end) in self.masqueraded),
            refused,
            1 - sum(ends.values(), NOTHING) - sum(refused.values(), NOTHING),
            self.sticky if ends else None,
        )


def seen_from(client: Client, to: Frontend, own: Iterable[str], node_address: str) -> Client:
    """The client with the source that its packets to this address have.

    A process's packets to one of the machine's own addresses come from that very address.
    """
    if not client.local:
        return client
    return replace(client, address=to.ip if to.ip in set(own) else node_address)
