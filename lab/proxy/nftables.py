"""Reads kube-proxy's rules in nftables mode out of `nft -j list table ip kube-proxy`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

from lab.proxy.addresses import local_addresses
from lab.proxy.chains import External, LocalPods, Way
from lab.proxy.model import (
    Frontend,
    Kind,
    Masquerade,
    NodeRules,
    Refusal,
    ServiceRules,
    UnrecognisedRule,
)
from lab.proxy.nft_base import REJECT_CHAIN, Base
from lab.proxy.nft_chains import NftChains
from lab.proxy.nft_json import Element, NftTable, parse
from lab.proxy.nft_phrases import service_name
from lab.proxy.reader import Reader


class NftablesReader(Reader):
    """nftables mode."""

    mode: ClassVar[str] = "nftables"
    needs: ClassVar[tuple[str, ...]] = ("nft", "ip-addr")

    def parse(self, outputs: Mapping[str, str]) -> NodeRules:
        """See `Reader.read`."""
        table = parse(outputs["nft"])
        if table is None:
            return NodeRules(mode=self.mode, services={}, faults=("table ip kube-proxy does not exist",))
        return _Node(table, local_addresses(outputs["ip-addr"])).rules()


class _Node:
    """One node's table on its way to a `NodeRules`."""

    def __init__(self, table: NftTable, addresses: tuple[str, ...]) -> None:
        self.table = table
        self.chains = NftChains(table)
        self.base = Base(table, addresses)
        self.local_pods = LocalPods()
        self.local_pods.note(self.base.local_pods)
        self.services: dict[Frontend, ServiceRules] = {}
        self.faults = dict.fromkeys(self.base.faults)
        self.firewalls = {_front(element): element for element in self._elements("firewall-ips")}
        self.hairpin: dict[str, set[tuple[str, int]]] = {}
        for element in self._elements("hairpin-connections"):
            source, target, protocol, port = element.key
            if source == target:
                self.hairpin.setdefault(protocol.upper(), set()).add((target, int(port)))

    def rules(self) -> NodeRules:
        self.chains.check()
        for element in self._elements("service-ips"):
            front = _front(element)
            kind = Kind.CLUSTER if front.ip in self.base.cluster_ips else Kind.EXTERNAL
            self._add(front, element, Kind.LOADBALANCER if front in self.firewalls else kind)
        for element in self._elements("service-nodeports"):
            for ip in self.base.node_port_addresses:
                self._add(_node_port(ip, element), element, Kind.NODEPORT)
        for element in self._elements("no-endpoint-services"):
            front = _front(element)
            self._refuse(front, element, Kind.CLUSTER if front.ip in self.base.cluster_ips else Kind.EXTERNAL)
        for element in self._elements("no-endpoint-nodeports"):
            for ip in self.base.node_port_addresses:
                self._refuse(_node_port(ip, element), element, Kind.NODEPORT)
        for element in self._elements("localhost-nodeport-reject-ports"):
            for ip in self.base.rejecting_loopback:
                self._refuse(_node_port(ip, element), element, Kind.NODEPORT)
        for front, element in self.firewalls.items():
            if front not in self.services:  # its Service has no endpoints, its sources are still checked
                self.services[front] = ServiceRules(kind=Kind.LOADBALANCER, raw=(element.raw,))
            rules, firewall = self.services[front], self.chains.firewall(_goto(element))
            self.services[front] = replace(
                rules,
                kind=Kind.LOADBALANCER,
                service=rules.service or service_name(_goto(element)),
                source_ranges=firewall.sources,
                raw=(*rules.raw, element.raw, *firewall.raw),
            )
        self.faults.update(dict.fromkeys(self.local_pods.faults()))
        return NodeRules(
            mode="nftables",
            services=self.services,
            node_port_addresses=self.base.node_port_addresses,
            local_pods=self.local_pods.way,
            cluster_ips=self.base.cluster_ips,
            dropped_cidrs=self.base.dropped_cidrs,
            faults=tuple(self.faults),
        )

    def _elements(self, name: str) -> list[Element]:
        return self.table.elements.get(name, [])

    def _add(self, front: Frontend, element: Element, kind: Kind) -> None:
        """A map sends the frontend to a chain; Services come before NodePorts, so the first one counts."""
        if front in self.services:
            return
        target = _goto(element)
        external = External(target, None, Masquerade.NEVER, None, ())
        if target.startswith("external-"):
            external = self.chains.external(target)
        way = Way(
            external,
            self.chains.balance(external.outside) if external.outside else None,
            self.chains.balance(external.inside) if external.inside else None,
            (element.raw, *external.raw),
        )
        masquerade, pods = way.masquerade(front)
        self.local_pods.note(pods)
        self.local_pods.note(external.local_pods)
        self.local_pods.kept_apart(front, external)
        if front.ip in self.base.cluster_ips and masquerade is Masquerade.NEVER:
            masquerade = self.base.cluster_masquerade
        self.faults.update(dict.fromkeys(way.faults(front)))
        rules = way.rules(kind, service_name(target), masquerade, None)
        listed = self.hairpin.get(front.protocol, set())
        inside = {backend.endpoint for backend in rules.inside_backends or ()}
        self.services[front] = replace(rules, hairpin=rules.hairpin | (listed & (rules.endpoints | inside)))

    def _refuse(self, front: Frontend, element: Element, kind: Kind) -> None:
        if element.value == f"goto {REJECT_CHAIN}" or (element.value or "").startswith("goto localhost-"):
            how = Refusal.REJECT
        elif element.value == "drop":
            how = Refusal.DROP
        else:
            raise UnrecognisedRule(element.raw, f"verdict {element.value!r} is not known there")
        known = self.services.get(front) or ServiceRules(kind=kind, service=element.comment)
        self.services[front] = replace(known, refusal=how, raw=(element.raw, *known.raw))


def _goto(element: Element) -> str:
    if element.value is None or not element.value.startswith("goto "):
        raise UnrecognisedRule(element.raw, f"verdict {element.value!r} is not known there")
    return element.value.removeprefix("goto ")


def _front(element: Element) -> Frontend:
    ip, protocol, port = element.key
    return Frontend(ip, int(port), protocol.upper())


def _node_port(ip: str, element: Element) -> Frontend:
    protocol, port = element.key
    return Frontend(ip, int(port), protocol.upper())
