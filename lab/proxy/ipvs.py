"""Reads kube-proxy's rules in ipvs mode: virtual servers, ipsets, iptables rules, bound addresses."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import ClassVar

from lab.proxy import ipset_save, iptables_save, ipvsadm
from lab.proxy.addresses import IPVS_DEVICE, interface_addresses, local_addresses
from lab.proxy.ipset_save import IpSet
from lab.proxy.iptables_chains import MARK_MASQ
from lab.proxy.ipvs_rules import IpvsRules
from lab.proxy.ipvsadm import VirtualServer
from lab.proxy.model import (
    Backend,
    Endpoint,
    Frontend,
    Kind,
    Masquerade,
    NodeRules,
    Refusal,
    ServiceRules,
    sort_backends,
)
from lab.proxy.reader import Reader

# These choose among all real servers alike, whatever their weights, as long as those are not 0.
WEIGHTLESS = frozenset({"rr", "lc", "dh"})


class IpvsReader(Reader):
    """ipvs mode."""

    mode: ClassVar[str] = "ipvs"
    needs: ClassVar[tuple[str, ...]] = ("ipvsadm", "ipset", "iptables-save", "ip-addr")

    def parse(self, outputs: Mapping[str, str]) -> NodeRules:
        """See `Reader.read`."""
        return _Node(outputs).rules()


class _Node:
    """One node's dumps on their way to a `NodeRules`."""

    def __init__(self, outputs: Mapping[str, str]) -> None:
        self.virtual = ipvsadm.parse(outputs["ipvsadm"])
        self.sets = ipset_save.parse(outputs["ipset"])
        self.iptables = IpvsRules(iptables_save.parse(outputs["iptables-save"]))
        interfaces = interface_addresses(outputs["ip-addr"])
        self.local = frozenset(local_addresses(outputs["ip-addr"]))
        self.bound = frozenset(interfaces.get(IPVS_DEVICE, ()))
        self.faults = [*self.iptables.faults]
        if IPVS_DEVICE not in interfaces:
            self.faults.append(f"device {IPVS_DEVICE} does not exist")
        self.hairpin: dict[str, set[Endpoint]] = {}
        if self.iptables.has("nat", "KUBE-POSTROUTING", "KUBE-LOOP-BACK", "MASQUERADE"):
            for target, port, source in self._set("KUBE-LOOP-BACK").entries:
                if target == source:
                    protocol, _, number = port.partition(":")
                    self.hairpin.setdefault(protocol.upper(), set()).add((target, int(number)))

    def rules(self) -> NodeRules:
        services = {}
        for front, server in self.virtual.items():
            kind = self._kind(front)
            if kind is None:
                self.faults.append(f"virtual server {front} is in none of kube-proxy's ipsets")
            else:
                services[front] = self._service(front, kind, server)
                if kind is not Kind.NODEPORT and not self._bound_here(front):
                    self.faults.append(f"address {front.ip} is not bound to {IPVS_DEVICE}")
        for name in ("KUBE-CLUSTER-IP", "KUBE-EXTERNAL-IP", "KUBE-EXTERNAL-IP-LOCAL", "KUBE-LOAD-BALANCER"):
            for entry in sorted(self._set(name).entries):
                if _front(entry) not in self.virtual:
                    self.faults.append(f"ipset {name} has {_front(entry)}, which has no virtual server")
        filtered = {ip for (ip,) in self._set("KUBE-IPVS-IPS").entries}
        if filtered != self.bound:
            odd = ", ".join(sorted(filtered ^ self.bound))
            self.faults.append(f"ipset KUBE-IPVS-IPS and the addresses of {IPVS_DEVICE} differ: {odd}")
        checks = self._set("KUBE-HEALTH-CHECK-NODE-PORT").ports()
        accepted = self.iptables.has("filter", "KUBE-NODE-PORT", "KUBE-HEALTH-CHECK-NODE-PORT", "ACCEPT")
        refused = self.iptables.has("filter", "KUBE-IPVS-FILTER", "KUBE-IPVS-IPS", "REJECT")
        return NodeRules(
            mode="ipvs",
            services=services,
            node_port_addresses=tuple(
                sorted({front.ip for front, rules in services.items() if rules.kind is Kind.NODEPORT})
            ),
            health_check_ports=frozenset(checks if accepted else ()),
            local_pods=self.iptables.local_pods,
            bound_addresses=self.bound,
            cluster_ips=frozenset(filtered if refused else ()),
            faults=tuple(self.faults),
        )

    def _set(self, name: str) -> IpSet:
        return self.sets.get(name, IpSet(""))

    def _bound_here(self, front: Frontend) -> bool:
        return front.ip in self.bound or front.ip in self.local

    def _in(self, name: str, front: Frontend) -> bool:
        return (front.ip, f"{front.protocol.lower()}:{front.port}") in self._set(name).entries

    def _node_port(self, prefix: str, front: Frontend) -> bool:
        """Whether the frontend is in a set of node ports: by port, or for SCTP by address and port."""
        if front.protocol == "SCTP":
            return self._in(f"{prefix}-SCTP-HASH", front)
        return (str(front.port),) in self._set(f"{prefix}-{front.protocol}").entries

    def _kind(self, front: Frontend) -> Kind | None:
        if self._in("KUBE-CLUSTER-IP", front):
            return Kind.CLUSTER
        if self._in("KUBE-EXTERNAL-IP", front) or self._in("KUBE-EXTERNAL-IP-LOCAL", front):
            return Kind.EXTERNAL
        if self._in("KUBE-LOAD-BALANCER", front):
            return Kind.LOADBALANCER
        if self._bound_here(front) and self._node_port("KUBE-NODE-PORT", front):
            return Kind.NODEPORT
        return None

    def _masquerade(self, front: Frontend, kind: Kind) -> tuple[Masquerade, str | None]:
        """Whose connections are masqueraded, and the external traffic policy as far as ipsets tell it."""
        if kind is Kind.CLUSTER:
            return self.iptables.cluster_masquerade, None
        if kind is Kind.EXTERNAL:
            marked = self.iptables.has("nat", "KUBE-SERVICES", "KUBE-EXTERNAL-IP", MARK_MASQ)
            local = self._in("KUBE-EXTERNAL-IP-LOCAL", front)
            spared = not self._in("KUBE-EXTERNAL-IP", front)
        elif kind is Kind.LOADBALANCER:
            chain = "KUBE-LOAD-BALANCER"
            marked = self.iptables.has("nat", "KUBE-SERVICES", chain, chain)
            marked = marked and self.iptables.has("nat", chain, "", MARK_MASQ)
            local = self._in(f"{chain}-LOCAL", front)
            spared = local and self.iptables.has("nat", chain, f"{chain}-LOCAL", "RETURN")
        else:
            chain = "KUBE-NODE-PORT"
            suffix = "SCTP-HASH" if front.protocol == "SCTP" else front.protocol
            marked = self.iptables.has("nat", chain, f"{chain}-{suffix}", MARK_MASQ)
            local = self._node_port(f"{chain}-LOCAL", front)
            spared = local and self.iptables.has("nat", chain, f"{chain}-LOCAL-{suffix}", "RETURN")
        masquerade = Masquerade.ALWAYS if marked and not spared else Masquerade.NEVER
        return masquerade, "Local" if local else "Cluster"

    def _service(self, front: Frontend, kind: Kind, server: VirtualServer) -> ServiceRules:
        masquerade, policy = self._masquerade(front, kind)
        serving = {real.endpoint: real.weight for real in server.real if real.weight > 0}
        if server.scheduler in WEIGHTLESS:
            serving = dict.fromkeys(serving, 1)
        backends = [Backend(*end, Fraction(weight, sum(serving.values()))) for end, weight in serving.items()]
        self.faults += [
            f"{front} reaches {real.endpoint[0]} by {real.forwarding}, not by masquerading"
            for real in server.real
            if real.forwarding != "masquerade"
        ]
        return ServiceRules(
            kind=kind,
            backends=sort_backends(backends),
            draining=frozenset(real.endpoint for real in server.real if real.weight == 0),
            policy=policy,
            scheduler=server.scheduler,
            masquerade=masquerade,
            affinity=server.persistence,
            # Without a real server to take it, the kernel answers a connection with "port unreachable".
            refusal=None if serving else Refusal.REJECT,
            hairpin=frozenset(
                self.hairpin.get(front.protocol, set()) & {real.endpoint for real in server.real}
            ),
            source_ranges=self._ranges(front),
            blocks_node=front in self.iptables.shut_out,
            raw=(server.raw, *(real.raw for real in server.real)),
        )

    def _ranges(self, front: Frontend) -> tuple[str, ...] | None:
        chain = "KUBE-SOURCE-RANGES-FIREWALL"
        enforced = self.iptables.has("filter", "KUBE-PROXY-FIREWALL", "KUBE-LOAD-BALANCER-FW", chain)
        if not self._in("KUBE-LOAD-BALANCER-FW", front):
            return None
        if not enforced or not self.iptables.has("filter", chain, "", "DROP"):
            self.faults.append(f"source ranges of {front} are not enforced in filter KUBE-PROXY-FIREWALL")
        return tuple(
            sorted(
                entry[2]
                for name in ("KUBE-LOAD-BALANCER-SOURCE-CIDR", "KUBE-LOAD-BALANCER-SOURCE-IP")
                if self.iptables.has("filter", chain, name, "RETURN")
                for entry in self._set(name).entries
                if _front(entry[:2]) == front
            )
        )


def _front(entry: tuple[str, ...]) -> Frontend:
    protocol, _, port = entry[1].partition(":")
    return Frontend(entry[0], int(port), protocol.upper())
