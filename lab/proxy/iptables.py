"""Reads kube-proxy's rules in iptables mode out of `iptables-save`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

from lab.proxy.addresses import local_addresses
from lab.proxy.chains import External, LocalPods, Way
from lab.proxy.iptables_chains import Chains, frontend
from lab.proxy.iptables_filter import Filter, masquerade_faults
from lab.proxy.iptables_owned import IPTABLES_JUMPS, jump_faults, strange
from lab.proxy.iptables_save import Rule, Table, parse
from lab.proxy.model import (
    Frontend,
    Kind,
    Masquerade,
    NodeRules,
    ServiceRules,
    UnrecognisedRule,
)
from lab.proxy.reader import Reader

_KINDS = {"cluster IP": Kind.CLUSTER, "external IP": Kind.EXTERNAL, "loadbalancer IP": Kind.LOADBALANCER}


class IptablesReader(Reader):
    """iptables mode, either flavour (legacy or nft) as the node's own `iptables-save` prints it."""

    mode: ClassVar[str] = "iptables"
    needs: ClassVar[tuple[str, ...]] = ("iptables-save", "ip-addr")

    def parse(self, outputs: Mapping[str, str]) -> NodeRules:
        """See `Reader.read`."""
        tables = parse(outputs["iptables-save"])
        return _Node(tables, local_addresses(outputs["ip-addr"])).rules()


class _Node:
    """One node's tables on their way to a `NodeRules`."""

    def __init__(self, tables: dict[str, Table], addresses: tuple[str, ...]) -> None:
        self.tables = tables
        self.nat = tables.get("nat", Table())
        self.chains = Chains(self.nat)
        self.filter = Filter(tables.get("filter", Table()))
        self.addresses = addresses
        self.faults: dict[str, None] = {}
        self.local_pods = LocalPods()
        self.services: dict[Frontend, ServiceRules] = {}

    def rules(self) -> NodeRules:
        self.chains.check()
        faults = [
            *jump_faults(self.tables, IPTABLES_JUMPS),
            *masquerade_faults(self.nat),
            *self.filter.faults,
        ]
        faults += [
            fault for rule in self.nat.rules("KUBE-POSTROUTING") if (fault := strange(rule, "iptables"))
        ]
        self.faults.update(dict.fromkeys(faults))
        node_ports: tuple[str, ...] = ()
        for rule in self.nat.rules("KUBE-SERVICES"):
            if fault := strange(rule, "iptables"):
                self._fault(fault)
                continue
            comment = rule.take("--comment") or ""
            target = rule.must("-j")
            if target == "KUBE-NODEPORTS":
                node_ports = (*node_ports, *self._node_port_addresses(rule))
            else:
                name, _, what = comment.partition(" ")
                if what not in _KINDS:
                    raise UnrecognisedRule(rule.raw, f"comment {comment!r} names no kind of address")
                self._add(frontend(rule), target, _KINDS[what], name, rule.raw)
            rule.done()
        for rule in self.nat.rules("KUBE-NODEPORTS"):
            self._node_port(rule, node_ports)
        self._refusals(node_ports)
        ranged = {front for front, rules in self.services.items() if rules.source_ranges is not None}
        for front in self.filter.dropped_unless_allowed - ranged:
            self._fault(f"filter KUBE-PROXY-FIREWALL drops {front}, which has no source ranges")
        self.faults.update(dict.fromkeys(self.local_pods.faults()))
        return NodeRules(
            mode="iptables",
            services=self.services,
            node_port_addresses=node_ports,
            health_check_ports=self.filter.health_check_ports,
            local_pods=self.local_pods.way,
            faults=tuple(self.faults),
        )

    def _fault(self, what: str) -> None:
        self.faults[what] = None

    def _node_port_addresses(self, rule: Rule) -> tuple[str, ...]:
        if rule.take("--dst-type") == "LOCAL":
            no_localhost = rule.take("-d", negated=True) == "127.0.0.0/8"
            return tuple(ip for ip in self.addresses if not (no_localhost and ip.startswith("127.")))
        return (rule.must("-d").removesuffix("/32"),)

    def _node_port(self, rule: Rule, addresses: tuple[str, ...]) -> None:
        name = rule.take("--comment") or ""
        rule.take("--nfacct-name")  # only counts connections to NodePorts on localhost
        only = rule.take("-d")
        if only not in (None, "127.0.0.0/8"):
            raise UnrecognisedRule(rule.raw, f"NodePorts for {only} only")
        port, protocol, target = int(rule.must("--dport")), rule.must("-p").upper(), rule.must("-j")
        rule.done()
        for ip in addresses:
            if only is None or ip.startswith("127."):
                self._add(Frontend(ip, port, protocol), target, Kind.NODEPORT, name, rule.raw)

    def _add(self, front: Frontend, target: str, kind: Kind, name: str, raw: str) -> None:
        """A nat rule sends the frontend to the target; of several such rules the first one counts."""
        if front in self.services:
            return
        ranges = None
        lines: tuple[str, ...] = (raw,)
        if target.startswith("KUBE-FW-"):
            firewall = self.chains.firewall(target)
            lines += firewall.raw
            ranges, target = firewall.sources, firewall.target or ""
            if front not in self.filter.dropped_unless_allowed:
                self._fault(f"source ranges of {front} are not enforced in filter KUBE-PROXY-FIREWALL")
        external = External(target, None, Masquerade.NEVER, None, ())
        if target.startswith("KUBE-EXT-"):
            external = self.chains.external(target)
        way = Way(
            external,
            self.chains.balance(external.outside) if external.outside else None,
            self.chains.balance(external.inside) if external.inside else None,
            (*lines, *external.raw),
        )
        masquerade, pods = way.masquerade(front)
        self.local_pods.note(pods)
        self.local_pods.note(external.local_pods)
        self.local_pods.kept_apart(front, external)
        for fault in way.faults(front):
            self._fault(fault)
        self.services[front] = way.rules(kind, name, masquerade, ranges)

    def _refusals(self, node_ports: tuple[str, ...]) -> None:
        for refused in self.filter.refused:
            # Packets to a node port are refused by address type, whatever the NodePort rules say.
            for ip in (refused.ip,) if refused.ip else node_ports or self.addresses:
                front = Frontend(ip, refused.port, refused.protocol)
                known = self.services.get(front) or ServiceRules(kind=refused.kind, service=refused.service)
                self.services[front] = replace(known, refusal=refused.how, raw=(refused.raw, *known.raw))
