"""One model of what kube-proxy has programmed on a node, the same for every proxy mode.

It must be able to say everything that kube-proxy 1.34 to 1.37 emits for IPv4 in its three modes
(upstream: `pkg/proxy/{iptables,ipvs,nftables}/proxier.go`). Readers make it from the node's own
dumps; `lab.proxy.slices` makes the same from Services and EndpointSlices.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from fractions import Fraction
from typing import NamedTuple

from lab.errors import LabError

Endpoint = tuple[str, int]
"""The address of one endpoint: (ip, port)."""


class Frontend(NamedTuple):
    """Where clients connect to."""

    ip: str
    port: int
    protocol: str
    """`TCP`, `UDP` or `SCTP`, as in a Service."""

    def __str__(self) -> str:
        return f"{self.ip}:{self.port}/{self.protocol}"


class Kind(StrEnum):
    """What a frontend is of its Service."""

    CLUSTER = "cluster"
    NODEPORT = "nodeport"
    EXTERNAL = "external"
    """An external IP; a load balancer IP too where its rules look the same (nftables, or no endpoints)."""
    LOADBALANCER = "loadbalancer"


class Masquerade(StrEnum):
    """Whose connections leave with the node's own address as the source."""

    NEVER = "never"
    OUTSIDE = "outside pod cidr"
    """All clients but this node's pods (or, by configuration, the pod CIDR's)."""
    NODE = "from this node"
    """Processes on the node itself, not its pods: what externalTrafficPolicy Local leaves."""
    ALWAYS = "always"


class Refusal(StrEnum):
    """What becomes of connections that no endpoint may serve."""

    REJECT = "reject"
    DROP = "drop"


@dataclass(frozen=True, slots=True)
class Backend:
    """One endpoint that new connections may be sent to.

    `weight` is its share of the new connections of one frontend, exact: a third is Fraction(1, 3).
    """

    ip: str
    port: int
    weight: Fraction

    @property
    def endpoint(self) -> Endpoint:
        """Its address without the share."""
        return (self.ip, self.port)

    def __str__(self) -> str:
        return f"{self.ip}:{self.port} ({self.weight})"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceRules:
    """What a node does with connections to one frontend."""

    kind: Kind
    service: str | None = None
    """`namespace/name:port name`, no colon when the port has no name; None where rules don't tell (ipvs)."""
    backends: tuple[Backend, ...] = ()
    """Where a client outside the cluster is sent (of a ClusterIP: every client), sorted by address."""
    inside_backends: tuple[Backend, ...] | None = None
    """Where this node's pods and processes are sent instead, under externalTrafficPolicy Local; else None."""
    draining: frozenset[Endpoint] = frozenset()
    """Endpoints that only serve connections they already have (ipvs: weight 0)."""
    policy: str | None = None
    """`Cluster` or `Local`; None where the rules don't tell (the ClusterIP in ipvs mode)."""
    scheduler: str | None = None
    """The ipvs scheduler (`rr`, `wrr`, …); None in the other modes."""
    masquerade: Masquerade = Masquerade.NEVER
    affinity: int | None = None
    """Seconds of session affinity by client address; None without."""
    refusal: Refusal | None = None
    """What is done with connections of outside clients when there are no backends for them."""
    hairpin: frozenset[Endpoint] = frozenset()
    """Backends whose own connections, sent back to themselves, are masqueraded."""
    source_ranges: tuple[str, ...] | None = None
    """The only sources let through to a load balancer IP, sorted; None when all are."""
    blocks_node: bool = False
    """A rule of its own shuts the node out of a load balancer IP (ipvs only, kubernetes#119656)."""
    raw: tuple[str, ...] = field(default=(), compare=False)
    """The rules this was read from, as dumped."""

    @property
    def endpoints(self) -> frozenset[Endpoint]:
        """The addresses of `backends`."""
        return frozenset(backend.endpoint for backend in self.backends)

    @property
    def hairpin_masquerade(self) -> bool:
        """Whether every backend is masqueraded when it reaches itself.

        ipvs and nftables (since 1.36) need and keep that only for backends on the same node.
        """
        return self.endpoints <= self.hairpin


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeRules:
    """Everything kube-proxy has programmed on one node (IPv4)."""

    mode: str
    services: Mapping[Frontend, ServiceRules]
    node_port_addresses: tuple[str, ...] = ()
    """The node's addresses on which NodePorts are served."""
    health_check_ports: frozenset[int] = frozenset()
    """healthCheckNodePorts that the packet filter is told to accept; nftables mode tells it nothing."""
    local_pods: str | None = None
    """How kube-proxy tells its pods' traffic: a CIDR, or `iifname cni0`; None if it does not."""
    bound_addresses: frozenset[str] = frozenset()
    """Addresses on kube-ipvs0; empty in the other modes."""
    cluster_ips: frozenset[str] = frozenset()
    """ClusterIPs whose other ports are refused (ipvs, nftables)."""
    dropped_cidrs: tuple[str, ...] = ()
    """Service CIDRs whose unallocated addresses are dropped (nftables)."""
    faults: tuple[str, ...] = ()
    """What keeps the rules from taking effect: a missing table, a missing jump from a base chain."""

    def of_service(self, service: str, kind: Kind | None = None) -> dict[Frontend, ServiceRules]:
        """The frontends of one Service port (`default/mytest-svc`), perhaps of one kind only."""
        return {
            frontend: rules
            for frontend, rules in self.services.items()
            if rules.service == service and kind in (None, rules.kind)
        }


class UnrecognisedRule(LabError):  # noqa: N818
    """A rule in a chain that kube-proxy owns has a piece this reader does not know.

    Nothing is skipped silently: an unknown piece could change where connections go.

    Attributes:
        raw: the rule as dumped.
    """

    def __init__(self, raw: str, why: str, *, where: str = "") -> None:
        super().__init__(
            f"Unrecognised rule{f' in {where}' if where else ''}: {why}",
            details=[raw],
            fix="Report this rule with kube-proxy's version, or use a newer release of this tool.",
        )
        self.raw = raw


class UnreadableDump(LabError):  # noqa: N818
    """A node's dump is missing or is not what the command prints."""


def sort_backends(backends: list[Backend]) -> tuple[Backend, ...]:
    """In one order for every source, so that two sets of backends compare equal; duplicates are added up."""
    shares: dict[Endpoint, Fraction] = {}
    for backend in backends:
        shares[backend.endpoint] = shares.get(backend.endpoint, Fraction(0)) + backend.weight
    return tuple(Backend(ip, port, weight) for (ip, port), weight in sorted(shares.items()))


def even(endpoints: frozenset[Endpoint] | set[Endpoint]) -> tuple[Backend, ...]:
    """Backends that share new connections evenly: 1/N each."""
    share = Fraction(1, max(len(endpoints), 1))
    return tuple(Backend(ip, port, share) for ip, port in sorted(endpoints))
