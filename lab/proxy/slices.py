"""What kube-proxy should program on a node, out of Services and EndpointSlices: in the readers' model.

Upstream: each mode's `syncProxyRules` in `pkg/proxy/{iptables,ipvs,nftables}/proxier.go`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from lab.proxy.endpoints import Object, Usable, candidates, usable
from lab.proxy.model import (
    Endpoint,
    Frontend,
    Kind,
    Masquerade,
    NodeRules,
    Refusal,
    ServiceRules,
    even,
)
from lab.proxy.node import Node
from lab.proxy.service_ports import Port, ports

__all__ = ["Node", "expect"]


def expect(
    mode: str,
    services: Object | Iterable[Object],
    slices: Object | Iterable[Object],
    node: Node,
    *,
    scheduler: str = "rr",
    service_cidrs: Iterable[str] = (),
    masquerade_all: bool = False,
) -> NodeRules:
    """The rules a node should have.

    Args:
        mode: `iptables`, `ipvs` or `nftables`.
        services: as `kubectl get services -A -o json` prints them, or a series of such objects.
        slices: the same of endpointslices.
        node: whose rules.
        scheduler: the ipvs scheduler asked for.
        service_cidrs: where ClusterIPs are from, which nftables mode guards; not compared if not given.
        masquerade_all: kube-proxy's `masqueradeAll`.

    Two kinds are not told apart by every mode's rules, see `Kind.EXTERNAL`; `compare` knows.
    """
    known = candidates(slices, node.name)
    rules: dict[Frontend, ServiceRules] = {}
    checks: set[int] = set()
    node_ports: set[str] = set()
    vips: set[str] = set()
    for port in ports(services):
        available = usable(
            known.get((port.namespace, port.name, port.port_name, port.protocol), {}).values(),
            cluster=not port.internal_local or bool(port.externally),
            local=port.internal_local or (port.external_local and bool(port.externally)),
            node=node.name,
            zone=node.zone,
        )
        view = _View(mode, scheduler, node, port, available, masquerade_all)
        vips.add(port.cluster_ip)
        rules.setdefault(Frontend(port.cluster_ip, port.port, port.protocol), view.cluster())
        for ip, kind in port.vips:
            rules.setdefault(Frontend(ip, port.port, port.protocol), view.external(kind, ip))
            if mode == "ipvs" and ip not in node.addresses:
                vips.add(ip)
        if port.node_port:
            for ip in node.node_port_addresses(mode):
                node_ports.add(ip)
                rules.setdefault(
                    Frontend(ip, port.node_port, port.protocol), view.external(Kind.NODEPORT, ip)
                )
        if port.health_check_port and mode != "nftables":
            checks.add(port.health_check_port)
    return NodeRules(
        mode=mode,
        services=rules,
        node_port_addresses=tuple(sorted(node_ports)),
        health_check_ports=frozenset(checks),
        local_pods=node.pod_cidr,
        bound_addresses=frozenset(vips if mode == "ipvs" else ()),
        cluster_ips=frozenset(() if mode == "iptables" else vips),
        dropped_cidrs=tuple(sorted(service_cidrs)) if mode == "nftables" else (),
    )


@dataclass(frozen=True, slots=True)
class _View:
    """One Service port on one node in one mode."""

    mode: str
    scheduler: str
    node: Node
    port: Port
    available: Usable
    masquerade_all: bool

    def cluster(self) -> ServiceRules:
        """The rules of its ClusterIP."""
        everyone = Masquerade.OUTSIDE if self.node.pod_cidr else Masquerade.NEVER
        if self.masquerade_all:
            everyone = Masquerade.ALWAYS
        elif self.mode == "ipvs" and not self.node.pod_cidr:
            everyone = Masquerade.NODE
        if self.mode == "ipvs":
            return self._ipvs(Kind.CLUSTER, everyone, None)
        ends = self.available.local if self.port.internal_local else self.available.cluster
        if not ends:
            return self._refused(Kind.CLUSTER)
        return ServiceRules(
            kind=Kind.CLUSTER,
            service=self.port.title,
            backends=even(ends),
            policy="Local" if self.port.internal_local else "Cluster",
            masquerade=everyone,
            affinity=self.port.affinity,
            hairpin=self._hairpin(ends),
        )

    def external(self, kind: Kind, ip: str) -> ServiceRules:
        """The rules of a NodePort, external IP or load balancer IP."""
        local = self.port.external_local
        ranged = kind is Kind.LOADBALANCER and bool(self.port.source_ranges)
        ranges = self.port.allowed(self.node.address, ip if self.mode == "ipvs" else None) if ranged else None
        if self.mode == "ipvs":
            return self._ipvs(kind, Masquerade.NEVER if local else Masquerade.ALWAYS, ranges, ip)
        if not self.available.anywhere:
            return self._refused(kind, ranges if self.mode == "nftables" else None)
        ends = self.available.local if local else self.available.cluster
        return ServiceRules(
            kind=kind,
            service=self.port.title,
            backends=even(ends),
            inside_backends=even(self.available.cluster) if local else None,
            policy="Local" if local else "Cluster",
            masquerade=Masquerade.NODE if local else Masquerade.ALWAYS,
            affinity=self.port.affinity,
            refusal=None if ends else Refusal.DROP,
            hairpin=self._hairpin(ends | self.available.cluster),
            source_ranges=ranges,
        )

    def _refused(self, kind: Kind, ranges: tuple[str, ...] | None = None) -> ServiceRules:
        how = Refusal.DROP if self.available.anywhere else Refusal.REJECT
        return ServiceRules(kind=kind, service=self.port.title, refusal=how, source_ranges=ranges)

    def _hairpin(self, ends: frozenset[Endpoint]) -> frozenset[Endpoint]:
        """In iptables mode every endpoint has a rule; elsewhere only those on the node are sure to."""
        return ends if self.mode == "iptables" else ends & self.available.here

    def _ipvs(
        self, kind: Kind, masquerade: Masquerade, ranges: tuple[str, ...] | None, ip: str | None = None
    ) -> ServiceRules:
        local = self.port.internal_local if kind is Kind.CLUSTER else self.port.external_local
        # Without local endpoints ipvs takes them all (kubernetes#97081): clients outside get no answer.
        ends = (local and self.available.local) or self.available.cluster
        return ServiceRules(
            kind=kind,
            service=self.port.title,
            backends=even(ends),
            policy=None if kind is Kind.CLUSTER else "Local" if local else "Cluster",
            scheduler=self.scheduler,
            masquerade=masquerade,
            affinity=self.port.affinity,
            refusal=None if ends else Refusal.REJECT,
            hairpin=ends & self.available.here,
            source_ranges=ranges,
            blocks_node=ranges is not None and ip not in ranges,
        )
