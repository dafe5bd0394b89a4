"""What kube-proxy refuses, drops and accepts in iptables' filter table, and how it masquerades.

Used in iptables mode; `masquerade_faults` and `forward` hold for ipvs mode as well.
"""

from __future__ import annotations

from dataclasses import dataclass

from lab.proxy.iptables_chains import frontend
from lab.proxy.iptables_owned import strange
from lab.proxy.iptables_save import Rule, Table
from lab.proxy.model import Frontend, Kind, Refusal, UnrecognisedRule


@dataclass(frozen=True, slots=True)
class Refused:
    """One rule that refuses connections."""

    ip: str | None
    """None: a node port, on every address of the node."""
    port: int
    protocol: str
    kind: Kind
    service: str
    how: Refusal
    raw: str


class Filter:
    """The filter table's chains of kube-proxy in iptables mode."""

    def __init__(self, table: Table) -> None:
        self.refused = [
            *(refused(rule, Kind.CLUSTER) for rule in table.rules("KUBE-SERVICES")),
            *(refused(rule, Kind.EXTERNAL) for rule in table.rules("KUBE-EXTERNAL-SERVICES")),
        ]
        self.health_check_ports = frozenset(map(_health_check, table.rules("KUBE-NODEPORTS")))
        firewall = [(rule, strange(rule, "iptables")) for rule in table.rules("KUBE-PROXY-FIREWALL")]
        self.faults = [fault for _, fault in firewall if fault]
        self.dropped_unless_allowed = frozenset(_firewalled(rule) for rule, fault in firewall if not fault)
        """Load balancer addresses with source ranges: dropped unless KUBE-FW-* translated them before."""
        for rule in table.rules("KUBE-FORWARD"):
            forward(rule)


def refused(rule: Rule, kind: Kind) -> Refused:
    """`… --comment "ns/name:port has no endpoints" … -j REJECT`, or DROP for want of local ones."""
    service, _, why = (rule.take("--comment") or "").partition(" ")
    target = rule.must("-j")
    rule.take("--reject-with")
    if (target, why) == ("REJECT", "has no endpoints"):
        how = Refusal.REJECT
    elif (target, why) == ("DROP", "has no local endpoints"):
        how = Refusal.DROP
    else:
        raise UnrecognisedRule(rule.raw, f"{target} because it {why!r}")
    if rule.take("--dst-type") == "LOCAL":
        port, protocol = int(rule.must("--dport")), rule.must("-p").upper()
        found = Refused(None, port, protocol, Kind.NODEPORT, service, how, rule.raw)
    else:
        found = Refused(*frontend(rule), kind, service, how, rule.raw)
    rule.done()
    return found


def _health_check(rule: Rule) -> int:
    comment = rule.take("--comment") or ""
    shape = (comment.endswith(" health check node port"), rule.must("-j"), rule.must("-p"))
    if shape != (True, "ACCEPT", "tcp"):
        raise UnrecognisedRule(rule.raw, "it does not accept a health check node port")
    port = int(rule.must("--dport"))
    rule.done()
    return port


def _firewalled(rule: Rule) -> Frontend:
    rule.take("--comment")
    if rule.must("-j") != "DROP":
        raise UnrecognisedRule(rule.raw, "it does not drop")
    front = frontend(rule)
    rule.done()
    return front


_FORWARD = (("DROP", "INVALID", False), ("ACCEPT", "RELATED,ESTABLISHED", False), ("ACCEPT", None, True))


def forward(rule: Rule) -> None:
    """Recognise a rule of KUBE-FORWARD; none of them decides where a connection goes."""
    rule.take("--comment")
    rule.take("--nfacct-name")
    shape = (rule.must("-j"), rule.take("--ctstate"), rule.take("--mark") is not None)
    if shape not in _FORWARD:
        raise UnrecognisedRule(rule.raw, "no such rule is known there")
    rule.done()


def masquerade_faults(nat: Table) -> list[str]:
    """Read KUBE-MARK-MASQ and KUBE-POSTROUTING: marking a connection must lead to masquerading it.

    Rules with ipsets before it are the caller's (see `lab.proxy.ipvs_rules`).
    """
    marks: set[int] = set()
    for rule in nat.rules("KUBE-MARK-MASQ"):
        if rule.must("-j") != "MARK":
            raise UnrecognisedRule(rule.raw, "it does not mark")
        value, _, mask = rule.must("--set-xmark").partition("/")
        rule.done()
        if value == mask:  # x OR mark
            marks.add(int(value, 16))
    masqueraded: set[int] = set()
    passed: set[int] = set()
    for rule in nat.rules("KUBE-POSTROUTING"):
        if rule.has("--match-set"):
            continue
        rule.take("--comment")
        target = rule.must("-j")
        unmarked = rule.take("--mark", negated=True)
        if target == "RETURN" and unmarked is not None:
            passed = {int(unmarked.partition("/")[0], 16)}
        elif target == "MARK":
            rule.must("--set-xmark")
        elif target == "MASQUERADE":
            rule.take("--random-fully")
            masqueraded |= passed
        else:
            raise UnrecognisedRule(rule.raw, f"target {target} is not known there")
        rule.done()
    faults = []
    if not marks:
        faults.append("nat KUBE-MARK-MASQ does not mark connections for masquerading")
    if not marks <= masqueraded or not masqueraded:
        faults.append("nat KUBE-POSTROUTING does not masquerade marked connections")
    return faults
