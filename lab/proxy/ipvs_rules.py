"""kube-proxy's iptables rules in ipvs mode, taken apart: they say what membership of each ipset means.

Upstream: `writeIptablesRules` in `pkg/proxy/ipvs/proxier.go`. Every rule must be one of those below; which of
them are there is what matters, since kube-proxy always writes them in one order.
"""

from __future__ import annotations

from collections.abc import Mapping

from lab.proxy.iptables_chains import MARK_MASQ, detector
from lab.proxy.iptables_filter import forward, masquerade_faults
from lab.proxy.iptables_owned import IPVS_JUMPS, NUMBERS, jump_faults, strange
from lab.proxy.iptables_save import Rule, Table
from lab.proxy.model import Frontend, Masquerade, UnrecognisedRule

# (chain, ipset, directions, target) of rules that only match an ipset; ipset "" matches everything.
_SIMPLE = {
    "nat": {
        ("KUBE-SERVICES", "KUBE-LOAD-BALANCER", "dst,dst", "KUBE-LOAD-BALANCER"),
        ("KUBE-SERVICES", "KUBE-EXTERNAL-IP", "dst,dst", MARK_MASQ),
        ("KUBE-SERVICES", "KUBE-CLUSTER-IP", "dst,dst", "ACCEPT"),
        ("KUBE-SERVICES", "KUBE-LOAD-BALANCER", "dst,dst", "ACCEPT"),
        ("KUBE-LOAD-BALANCER", "KUBE-LOAD-BALANCER-LOCAL", "dst,dst", "RETURN"),
        ("KUBE-LOAD-BALANCER", "", "", MARK_MASQ),
        ("KUBE-NODE-PORT", "KUBE-NODE-PORT-LOCAL-TCP", "dst", "RETURN"),
        ("KUBE-NODE-PORT", "KUBE-NODE-PORT-TCP", "dst", MARK_MASQ),
        ("KUBE-NODE-PORT", "KUBE-NODE-PORT-LOCAL-UDP", "dst", "RETURN"),
        ("KUBE-NODE-PORT", "KUBE-NODE-PORT-UDP", "dst", MARK_MASQ),
        ("KUBE-NODE-PORT", "KUBE-NODE-PORT-LOCAL-SCTP-HASH", "dst,dst", "RETURN"),
        ("KUBE-NODE-PORT", "KUBE-NODE-PORT-SCTP-HASH", "dst,dst", MARK_MASQ),
        ("KUBE-POSTROUTING", "KUBE-LOOP-BACK", "dst,dst,src", "MASQUERADE"),
    },
    "filter": {
        ("KUBE-NODE-PORT", "KUBE-HEALTH-CHECK-NODE-PORT", "dst", "ACCEPT"),
        ("KUBE-PROXY-FIREWALL", "KUBE-LOAD-BALANCER-FW", "dst,dst", "KUBE-SOURCE-RANGES-FIREWALL"),
        ("KUBE-SOURCE-RANGES-FIREWALL", "KUBE-LOAD-BALANCER-SOURCE-CIDR", "dst,dst,src", "RETURN"),
        ("KUBE-SOURCE-RANGES-FIREWALL", "KUBE-LOAD-BALANCER-SOURCE-IP", "dst,dst,src", "RETURN"),
        ("KUBE-SOURCE-RANGES-FIREWALL", "", "", "DROP"),
        ("KUBE-IPVS-FILTER", "KUBE-LOAD-BALANCER", "dst,dst", "RETURN"),
        ("KUBE-IPVS-FILTER", "KUBE-CLUSTER-IP", "dst,dst", "RETURN"),
        ("KUBE-IPVS-FILTER", "KUBE-EXTERNAL-IP", "dst,dst", "RETURN"),
        ("KUBE-IPVS-FILTER", "KUBE-EXTERNAL-IP-LOCAL", "dst,dst", "RETURN"),
        ("KUBE-IPVS-FILTER", "KUBE-HEALTH-CHECK-NODE-PORT", "dst", "RETURN"),
        ("KUBE-IPVS-FILTER", "KUBE-IPVS-IPS", "dst", "REJECT"),
    },
}


class IpvsRules:
    """Which of the rules a node has.

    Attributes:
        raw: (table, chain, ipset, target) of each rule that only matches an ipset, with its text.
        cluster_masquerade: whose connections to ClusterIPs are masqueraded.
        local_pods: how the node's pods are told from other clients.
        shut_out: load balancer addresses that the node itself may not reach.
    """

    def __init__(self, tables: Mapping[str, Table]) -> None:
        self.raw: dict[tuple[str, str, str, str], str] = {}
        self.cluster_masquerade = Masquerade.NEVER
        self.local_pods: str | None = None
        self.shut_out: dict[Frontend, str] = {}
        self.faults = [*jump_faults(tables, IPVS_JUMPS), *masquerade_faults(tables.get("nat", Table()))]
        for name, shapes in _SIMPLE.items():
            table = tables.get(name, Table())
            for chain in (
                "KUBE-SERVICES",
                "KUBE-IPVS-OUT-FILTER",
                *dict.fromkeys(shape[0] for shape in shapes),
            ):
                # filter KUBE-SERVICES is iptables mode's: in ipvs mode it can only be residue.
                if (name, chain) != ("filter", "KUBE-SERVICES"):
                    for rule in table.rules(chain):
                        self._rule(name, rule)
        for rule in tables.get("filter", Table()).rules("KUBE-FORWARD"):
            forward(rule)
        if self.raw.get(("nat", "KUBE-SERVICES", "", "KUBE-NODE-PORT")) is None:
            self.faults.append("nat KUBE-SERVICES does not jump to KUBE-NODE-PORT")

    def has(self, table: str, chain: str, ipset: str, target: str) -> bool:
        """Whether the rule is there."""
        return (table, chain, ipset, target) in self.raw

    def _rule(self, table: str, rule: Rule) -> None:
        chain = rule.chain
        if chain == "KUBE-POSTROUTING" and not rule.has("--match-set"):
            return  # read by masquerade_faults
        if chain == "KUBE-IPVS-OUT-FILTER":
            self._shut_out(rule)
            return
        fault = strange(rule, "ipvs")
        if fault is not None:
            self.faults.append(fault)
            return
        rule.take("--comment")
        target = rule.must("-j")
        ipset, _, directions = (rule.take("--match-set") or "").partition(" ")
        shape = (chain, ipset, directions, target)
        if target == MARK_MASQ and ipset == "KUBE-CLUSTER-IP":
            self.local_pods = detector(rule, negated=True)
            if directions == "src,dst":
                self.cluster_masquerade = Masquerade.NODE
            else:
                self.cluster_masquerade = Masquerade.OUTSIDE if self.local_pods else Masquerade.ALWAYS
        elif chain == "KUBE-SERVICES" and not ipset:
            self._dispatch(rule, target)
        elif target == "ACCEPT" and ipset in ("KUBE-EXTERNAL-IP", "KUBE-EXTERNAL-IP-LOCAL"):
            # From off the machine, or to an address that is the machine's: no other chain may interfere.
            rule.take("--physdev-is-in", negated=True)
            rule.take("--src-type", negated=True)
            rule.take("--dst-type")
        elif shape in _SIMPLE[table]:
            if chain == "KUBE-NODE-PORT" and table == "nat":
                rule.must("-p")
            if ipset == "KUBE-IPVS-IPS":
                rule.must("--ctstate")
                rule.take("--reject-with")
        else:
            raise UnrecognisedRule(rule.raw, "no such rule is known there", where=f"{table} {chain}")
        rule.done()
        self.raw.setdefault((table, chain, ipset, target), rule.raw)

    def _dispatch(self, rule: Rule, target: str) -> None:
        if target == "RETURN":
            rule.must("-s")  # from localhost: NodePorts are not served there
        elif target != "KUBE-NODE-PORT" or rule.take("--dst-type") != "LOCAL":
            raise UnrecognisedRule(rule.raw, "no such rule is known there", where=rule.chain)

    def _shut_out(self, rule: Rule) -> None:
        ip = rule.must("--vaddr").removesuffix("/32")
        front = Frontend(ip, int(rule.must("--vport")), NUMBERS[rule.must("--vproto")])
        if rule.must("-j") != "DROP" or rule.must("-s").removesuffix("/32") != ip:
            raise UnrecognisedRule(rule.raw, "no such rule is known there", where=rule.chain)
        rule.done()
        self.shut_out[front] = rule.raw
