"""What rules say, in plain words; the modes share them."""

from __future__ import annotations

from fractions import Fraction


def share(value: Fraction) -> str:
    """`all`, `none`, `1/3`, `2/3`; a percentage where the fraction says little."""
    if value == 1:
        return "all"
    if not value:
        return "none"
    return str(value) if value.denominator <= 100 else f"{float(value):.1%}"


def chance(value: Fraction) -> str:
    """How often a rule that leaves it to chance takes what gets to it."""
    return f"of those that get here, {share(value)} at random"


def pods(way: str, *, yes: bool) -> str:
    """Whether a client is one of the pods that a rule tells by a CIDR or an interface."""
    told = f"by {way.removeprefix('iifname ')}" if way.startswith("iifname ") else f"in {way}"
    return f"from pods ({told})" if yes else f"from clients that are no pods (not {told})"


NONE = "-"
"""Stands for no share at all."""
NODE = "from this node's own processes"
REMEMBERED = "from a client that came here in the last {} s (session affinity)"
MARK = "mark them, to leave with this node's address as their source"
NOTE = "note the client, for session affinity"
MASQUERADE = "give them this node's address as their source"
UNMARK = "take the mark off"
REJECT = "refuse them at once: connection refused"
DROP = "drop them: the client waits in vain"
RETURN = "go back to where it was jumped from"
ACCEPT = "let them on as they are"


def to_chain(chain: str) -> str:
    """Where a jump or goto leads."""
    for start, meaning in _CHAINS.items():
        if chain.startswith(start):
            return meaning
    return f"go to {chain}"


_CHAINS = {
    "KUBE-SVC-": "choose among the Service's endpoints",
    "KUBE-SVL-": "choose among the endpoints on this node only (traffic policy Local)",
    "KUBE-SEP-": "take this endpoint",
    "KUBE-EXT-": "they come to an external address of the Service",
    "KUBE-FW-": "only some sources are let through (loadBalancerSourceRanges)",
    "KUBE-MARK-MASQ": MARK,
    "mark-for-masquerade": MARK,
    "KUBE-SERVICES": "look the destination up among the Services",
    "KUBE-NODEPORTS": "look the port up among the NodePorts",
    "KUBE-NODE-PORT": "look the port up among the NodePorts",
    "KUBE-EXTERNAL-SERVICES": "see whether the external address has endpoints",
    "KUBE-PROXY-FIREWALL": "see whether the load balancer's sources were let through",
    "KUBE-SOURCE-RANGES-FIREWALL": "only some sources are let through (loadBalancerSourceRanges)",
    "KUBE-LOAD-BALANCER": "they come to a load balancer's address",
    "KUBE-POSTROUTING": "see whether the source must be this node's",
    "KUBE-IPVS-FILTER": "refuse what no virtual server is for",
    "KUBE-IPVS-OUT-FILTER": "see whether the node may go there",
    "service-endpoints-check": "see whether the Service has endpoints",
    "nodeport-endpoints-check": "see whether the NodePort has endpoints",
    "cluster-ips-check": "see whether the ClusterIP has such a port",
    "firewall-check": "see whether the load balancer's sources are let through",
    "masquerading": "see whether the source must be this node's",
    "services": "look the destination up among the Services",
    "service-": "choose among the Service's endpoints",
    "local-": "choose among the endpoints on this node only (traffic policy Local)",
    "endpoint-": "take this endpoint",
    "external-": "they come to an external address of the Service",
    "firewall-": "only some sources are let through (loadBalancerSourceRanges)",
    "reject-chain": REJECT,
    "localhost-nodeport-reject-": REJECT,
}


def sentence(conditions: list[str], action: str) -> str:
    """Conditions and an action as one sentence: `From …, to …: do this`."""
    text = (
        f"{', '.join(condition for condition in conditions if condition)}: {action}"
        if any(conditions)
        else action
    )
    return text[:1].upper() + text[1:]
