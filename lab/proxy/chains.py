"""What the chains of one Service port mean, read from iptables or from nftables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lab.proxy.model import Backend, Endpoint, Frontend, Kind, Masquerade, ServiceRules


@dataclass(frozen=True, slots=True)
class EndpointChain:
    """One endpoint."""

    endpoint: Endpoint
    protocol: str
    hairpin: bool
    remembers: bool
    """It notes the client for session affinity."""
    raw: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Balance:
    """The choice among endpoints."""

    backends: tuple[Backend, ...]
    affinity: int | None
    hairpin: frozenset[Endpoint]
    masquerade: Mapping[Frontend, tuple[Masquerade, str | None]]
    """For a ClusterIP: whose connections are masqueraded, and how the node's pods are told from others.

    Port 0 and no protocol stand for every port of the address.
    """
    protocols: frozenset[str]
    faults: tuple[str, ...]
    raw: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class External:
    """The balancing chains for clients outside, and for this node's own clients if those differ."""

    outside: str | None
    inside: str | None
    masquerade: Masquerade
    local_pods: str | None
    raw: tuple[str, ...]
    from_node: bool = False
    """The node's own processes are among the clients kept apart; its pods are if `local_pods` is set."""


@dataclass(frozen=True, slots=True)
class Firewall:
    """The sources let through to a load balancer IP, and the chain they go on to (iptables)."""

    sources: tuple[str, ...]
    target: str | None
    raw: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Way:
    """All there is about one frontend, before it is turned into a `ServiceRules`."""

    external: External
    outside: Balance | None
    inside: Balance | None
    raw: tuple[str, ...]

    def masquerade(self, front: Frontend) -> tuple[Masquerade, str | None]:
        """Whose connections to this frontend are masqueraded, and how this node's pods are told."""
        if self.outside is not None:
            for key in (front, Frontend(front.ip, 0, "")):
                if key in self.outside.masquerade:
                    return self.outside.masquerade[key]
        return self.external.masquerade, self.external.local_pods

    def faults(self, front: Frontend) -> list[str]:
        """What does not fit together."""
        found: list[str] = []
        if self.external.inside and not self.external.from_node:
            found.append(f"{front} does not keep the node's own connections apart under policy Local")
        for balance in (self.outside, self.inside):
            if balance is not None:
                found += balance.faults
                if balance.protocols - {front.protocol}:
                    found.append(f"{front} leads to endpoints of another protocol")
        return found

    def rules(
        self, kind: Kind, service: str | None, masquerade: Masquerade, ranges: tuple[str, ...] | None
    ) -> ServiceRules:
        """The same as one `ServiceRules`, nothing refused."""
        either = self.outside or self.inside
        local = self.external.outside is None or self.external.outside.startswith(("KUBE-SVL-", "local-"))
        balances = [balance for balance in (self.outside, self.inside) if balance is not None]
        return ServiceRules(
            kind=kind,
            service=service,
            backends=self.outside.backends if self.outside else (),
            inside_backends=self.inside.backends if self.inside else None,
            policy="Local" if local else "Cluster",
            masquerade=masquerade,
            affinity=either.affinity if either else None,
            hairpin=frozenset().union(*(balance.hairpin for balance in balances)),
            source_ranges=ranges,
            raw=(*self.raw, *(line for balance in balances for line in balance.raw)),
        )


def affinity_faults(chain: str, ends: Mapping[str, EndpointChain], sticky: Mapping[str, int]) -> list[str]:
    """Session affinity must be alike for each endpoint of a chain: both halves of it, with one time."""
    faults = []
    remembering = {name for name, end in ends.items() if end.remembers}
    if set(sticky) != (set(ends) if sticky else set()) or remembering != set(sticky):
        faults.append(f"{chain}: session affinity covers only some of its endpoints")
    if len(set(sticky.values())) > 1:
        faults.append(f"{chain}: session affinity has several times: {sorted(set(sticky.values()))}")
    return faults


class LocalPods:
    """How a node's pods are told from other clients: one way for all rules, or something is wrong."""

    def __init__(self) -> None:
        self._ways: dict[str, None] = {}
        self._unaware: list[Frontend] = []

    def note(self, way: str | None) -> None:
        """A rule tells pods this way, or not at all."""
        if way is not None:
            self._ways[way] = None

    def kept_apart(self, front: Frontend, external: External) -> None:
        """Traffic policy Local keeps a frontend's clients apart: with or without the node's pods."""
        if external.inside is not None and external.local_pods is None:
            self._unaware.append(front)

    @property
    def way(self) -> str | None:
        """A CIDR or `iifname …`; None if no rule tells pods."""
        return next(iter(self._ways), None)

    def faults(self) -> list[str]:
        """Rules that disagree about it."""
        found = []
        if len(self._ways) > 1:
            found.append(f"pods are told in several ways: {', '.join(sorted(self._ways))}")
        if self._ways:
            found += [f"{front} does not keep pods apart under policy Local" for front in self._unaware]
        return found
