"""Which chains kube-proxy and kubelet own in iptables, and where kube-proxy's must be reached from.

Upstream: `iptablesJumpChains` in `pkg/proxy/iptables/proxier.go`, `iptablesJumpChain` and `iptablesChains` in
`pkg/proxy/ipvs/proxier.go`, `pkg/kubelet/kubelet_network_linux.go`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from lab.proxy.iptables_save import Rule, Table

Jumps = tuple[tuple[str, str, str], ...]

IPTABLES_JUMPS: Jumps = (
    ("filter", "INPUT", "KUBE-EXTERNAL-SERVICES"),
    ("filter", "FORWARD", "KUBE-EXTERNAL-SERVICES"),
    ("filter", "INPUT", "KUBE-NODEPORTS"),
    ("filter", "FORWARD", "KUBE-SERVICES"),
    ("filter", "OUTPUT", "KUBE-SERVICES"),
    ("filter", "FORWARD", "KUBE-FORWARD"),
    ("filter", "INPUT", "KUBE-PROXY-FIREWALL"),
    ("filter", "OUTPUT", "KUBE-PROXY-FIREWALL"),
    ("filter", "FORWARD", "KUBE-PROXY-FIREWALL"),
    ("nat", "OUTPUT", "KUBE-SERVICES"),
    ("nat", "PREROUTING", "KUBE-SERVICES"),
    ("nat", "POSTROUTING", "KUBE-POSTROUTING"),
)
"""(table, base chain, kube-proxy's chain) in iptables mode."""

IPVS_JUMPS: Jumps = (
    ("nat", "OUTPUT", "KUBE-SERVICES"),
    ("nat", "PREROUTING", "KUBE-SERVICES"),
    ("nat", "POSTROUTING", "KUBE-POSTROUTING"),
    ("filter", "FORWARD", "KUBE-FORWARD"),
    ("filter", "INPUT", "KUBE-NODE-PORT"),
    ("filter", "INPUT", "KUBE-PROXY-FIREWALL"),
    ("filter", "FORWARD", "KUBE-PROXY-FIREWALL"),
    ("filter", "INPUT", "KUBE-IPVS-FILTER"),
    ("filter", "OUTPUT", "KUBE-IPVS-OUT-FILTER"),
)
"""The same in ipvs mode."""

NUMBERS = {"6": "TCP", "17": "UDP", "132": "SCTP", "tcp": "TCP", "udp": "UDP", "sctp": "SCTP"}
"""Protocols as matches print them (`--vproto 6`)."""

SERVICE_PREFIXES = ("KUBE-SEP-", "KUBE-SVC-", "KUBE-SVL-", "KUBE-EXT-", "KUBE-FW-")

IPTABLES_CHAINS = frozenset(
    {(table, chain) for table, _, chain in IPTABLES_JUMPS}
    | {("nat", "KUBE-NODEPORTS"), ("nat", "KUBE-MARK-MASQ")}
    | {(table, "KUBE-PROXY-CANARY") for table in ("mangle", "nat", "filter")}
)
"""(table, chain) that kube-proxy owns in iptables mode, besides those named by SERVICE_PREFIXES in nat."""

IPVS_CHAINS = frozenset(
    {(table, chain) for table, _, chain in IPVS_JUMPS}
    | {("nat", "KUBE-NODE-PORT"), ("nat", "KUBE-LOAD-BALANCER"), ("nat", "KUBE-MARK-MASQ")}
    | {("filter", "KUBE-SOURCE-RANGES-FIREWALL")}
)
"""(table, chain) that kube-proxy owns in ipvs mode."""

# kubelet's own, in any mode: KUBE-FIREWALL, KUBE-IPTABLES-HINT, KUBE-KUBELET-CANARY. They are in neither set.


def jump_faults(tables: Mapping[str, Table], jumps: Iterable[tuple[str, str, str]]) -> list[str]:
    """One sentence for each base chain that does not lead to kube-proxy's chain, so that it has no effect."""
    return [
        f"{table} {base} does not jump to {chain}"
        for table, base, chain in jumps
        if table not in tables or not tables[table].jumps(base, chain)
    ]


def strange(rule: Rule, mode: str) -> str | None:
    """A fault, if a rule in a chain that iptables and ipvs mode share is the other mode's; else None.

    That is what a node looks like for a while when the mode is being switched, so it is no reason to give up.
    """
    by_ipset = rule.has("--match-set") or rule.raw.endswith(
        (" -j KUBE-NODE-PORT", " -s 127.0.0.0/8 -j RETURN")
    )
    by_address = rule.has("-d") or rule.raw.endswith(" -j KUBE-NODEPORTS")
    if by_ipset if mode == "iptables" else by_address:
        return f"{rule.chain} has a rule of another mode: {rule.raw}"
    return None
