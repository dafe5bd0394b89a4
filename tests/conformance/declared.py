"""Where the kube-proxy modes differ on purpose, as data: a test looks its expectation up here.

A difference that is not declared here is a fault. Each entry has its source.
"""

from __future__ import annotations

from dataclasses import dataclass

from packaging.specifiers import SpecifierSet

ANY = ">=0"


@dataclass(frozen=True)
class Declared:
    """What one behaviour is in one mode."""

    behaviour: str
    mode: str
    versions: str
    """Kubernetes versions it holds for, as a PEP 440 specifier."""
    expected: str
    source: str


DECLARED = (
    # A NodePort on the node's own 127.0.0.1, over IPv4.
    Declared(
        "nodeport-on-loopback", "iptables", ANY, "answers", "iptables.localhostNodePorts, CVE-2020-8558"
    ),
    Declared("nodeport-on-loopback", "ipvs", ANY, "refused", "kubernetes#67730"),
    Declared("nodeport-on-loopback", "nftables", ANY, "refused", "KEP-3866; opt-in TCP proxy: KEP-6032"),
    # A port of a ClusterIP that no Service has.
    Declared(
        "clusterip-wrong-port",
        "iptables",
        ANY,
        "no answer",
        "KEP-3866: not handled, leaves by the default route",
    ),
    Declared("clusterip-wrong-port", "ipvs", ">=1.28", "refused", "KUBE-IPVS-FILTER, kubernetes#72236"),
    Declared("clusterip-wrong-port", "nftables", ANY, "refused", "KEP-3866"),
    # Whether the nodes hold the ClusterIPs as addresses of their own.
    Declared("clusterip-on-node", "iptables", ANY, "no", "virtual IPs are only rules"),
    Declared("clusterip-on-node", "ipvs", ANY, "kube-ipvs0", "ipvs serves only local addresses"),
    Declared("clusterip-on-node", "nftables", ANY, "no", "virtual IPs are only rules"),
    # How a backend is chosen for a new connection.
    Declared("choice", "iptables", ANY, "random", "statistic random, cascaded"),
    Declared(
        "choice",
        "ipvs",
        ANY,
        "scheduler",
        "the kernel's ip_vs scheduler, one pointer a virtual server and node",
    ),
    Declared("choice", "nftables", ANY, "random", "numgen random mod N"),
    # A Service without endpoints.
    Declared(
        "no-endpoints", "iptables", ANY, "refused", "REJECT in KUBE-SERVICES and KUBE-EXTERNAL-SERVICES"
    ),
    Declared(
        "no-endpoints", "ipvs", ANY, "refused", "a virtual server without real servers: port unreachable"
    ),
    Declared("no-endpoints", "nftables", ANY, "refused", "no-endpoint-services map"),
    # A NodePort that was closed: nothing listens there.
    Declared("nodeport-closed", "iptables", ANY, "refused", "the node's own TCP answers"),
    Declared("nodeport-closed", "ipvs", ANY, "refused", "the node's own TCP answers"),
    Declared("nodeport-closed", "nftables", ANY, "refused", "the node's own TCP answers"),
)

SYSCTLS: dict[str, dict[str, str]] = {
    "all": {"net.ipv4.ip_forward": "1"},
    "iptables": {"net.ipv4.conf.all.route_localnet": "1"},
    "ipvs": {
        "net.ipv4.vs.conntrack": "1",
        "net.ipv4.vs.expire_nodest_conn": "1",
        "net.ipv4.vs.expire_quiescent_template": "1",
    },
    "nftables": {},
}
"""What kubeadm's preflight wants of every node, and what kube-proxy sets by itself in each mode."""


def declared(behaviour: str, *, mode: str, version: str) -> Declared:
    """The one entry for this behaviour, mode and Kubernetes version (`1.37.2`).

    >>> declared("choice", mode="ipvs", version="1.37.2").expected
    'scheduler'

    Raises:
        LookupError: none is declared, or more than one.
    """
    found = [
        entry
        for entry in DECLARED
        if (entry.behaviour, entry.mode) == (behaviour, mode) and version in SpecifierSet(entry.versions)
    ]
    if len(found) != 1:
        raise LookupError(
            f"{len(found)} entries declare {behaviour} in {mode} mode at {version}; there must be one"
        )
    return found[0]
