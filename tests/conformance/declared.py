"""Where the kube-proxy modes differ on purpose, as data: a test looks its expectation up here.

A difference that is not declared here is a fault. Each entry has its source.
"""

from __future__ import annotations

from dataclasses import dataclass

from packaging.specifiers import SpecifierSet

ANY = ">=0"
MODES = ("iptables", "ipvs", "nftables")
RECORDED = "any"
"""Expected where what is seen is recorded for whoever changes the mode, and nothing is promised."""
CLIENTS_OWN = "the client's own"
NODES_OWN = "its node's"
ASKED_NODES = "that of the node asked"
"""Whose address a pod sees."""


@dataclass(frozen=True)
class Declared:
    """What one behaviour is in one mode."""

    behaviour: str
    mode: str
    versions: str
    """Kubernetes versions it holds for, as a PEP 440 specifier."""
    expected: str
    source: str


def alike(behaviour: str, expected: str, source: str) -> tuple[Declared, ...]:
    """The same in every mode."""
    return tuple(Declared(behaviour, mode, ANY, expected, source) for mode in MODES)


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
    # A pod that is its Service's client and its endpoint, in an EndpointSlice that does not name its node.
    Declared(
        "hairpin-unknown-node", "iptables", ANY, "answers", "KUBE-SEP chains of all endpoints masquerade"
    ),
    Declared("hairpin-unknown-node", "ipvs", ANY, "no answer", "KUBE-LOOP-BACK has the node's own endpoints"),
    Declared(
        "hairpin-unknown-node",
        "nftables",
        ANY,
        "no answer",
        "hairpin-connections has the node's own endpoints",
    ),
    # Session affinity once the client was silent for longer than its timeout.
    Declared("session-affinity-timeout", "iptables", ANY, "chosen anew", "recent --seconds"),
    Declared(
        "session-affinity-timeout",
        "ipvs",
        ANY,
        "kept",
        "kubernetes#89358: a closed connection counts for the two minutes of its TIME_WAIT",
    ),
    Declared("session-affinity-timeout", "nftables", ANY, "chosen anew", "a set with a timeout"),
    # internalTrafficPolicy Local on a node without a pod of the Service.
    Declared("internal-local-no-local-pod", "iptables", ANY, "no answer", "dropped: KEP-2086"),
    Declared("internal-local-no-local-pod", "ipvs", ANY, "refused", "a virtual server without real servers"),
    Declared("internal-local-no-local-pod", "nftables", ANY, "no answer", "dropped: KEP-2086"),
    # The same where the Service has a NodePort too.
    Declared("internal-local-of-a-nodeport-no-local-pod", "iptables", ANY, "no answer", "dropped: KEP-2086"),
    Declared(
        "internal-local-of-a-nodeport-no-local-pod",
        "ipvs",
        ANY,
        "answers",
        "kubernetes#97081: all endpoints where no local one is, also inside",
    ),
    Declared("internal-local-of-a-nodeport-no-local-pod", "nftables", ANY, "no answer", "dropped: KEP-2086"),
    # A NodePort with externalTrafficPolicy Local, from outside, on a node without a pod of the Service.
    Declared(
        "external-local-no-local-pod",
        "iptables",
        ANY,
        "no answer",
        "KUBE-EXTERNAL-SERVICES: no local endpoints, DROP",
    ),
    Declared(
        "external-local-no-local-pod",
        "ipvs",
        ANY,
        "answers",
        "kubernetes#97081: all endpoints where no local one is; the pod network masquerades, so it answers",
    ),
    Declared("external-local-no-local-pod", "nftables", ANY, "no answer", "no-endpoint-services: drop"),
    # A load balancer's IP asked by whom its source ranges leave out.
    Declared("source-ranges-blocked", "iptables", ANY, "no answer", "KUBE-PROXY-FIREWALL"),
    Declared("source-ranges-blocked", "ipvs", ANY, "no answer", "KUBE-LOAD-BALANCER: dropped"),
    Declared("source-ranges-blocked", "nftables", ANY, "no answer", "firewall chains"),
    # kube-proxy's rules on a node, when somebody else has deleted them.
    Declared("rules-deleted", "iptables", ANY, "by itself", "looks for KUBE-PROXY-CANARY each syncPeriod"),
    Declared("rules-deleted", "ipvs", ANY, "by itself", "programs everything anew each syncPeriod"),
    Declared(
        "rules-deleted",
        "nftables",
        ANY,
        "after a change",
        "KEP-3866: nobody else changes its table; a failed sync is followed by a full one, else one an hour",
    ),
    # A segment of a living connection that conntrack may not take for a part of it.
    Declared("segment-behind-window", "iptables", ANY, "survives", "KUBE-FORWARD drops what is INVALID"),
    Declared("segment-behind-window", "ipvs", ANY, "survives", "ipvs translates by its own connections"),
    Declared("segment-behind-window", "nftables", ANY, "survives", "not INVALID since Linux 6.1"),
    Declared("segment-ahead-of-window", "iptables", ANY, "survives", "KUBE-FORWARD drops what is INVALID"),
    Declared("segment-ahead-of-window", "ipvs", ANY, "survives", "ipvs translates by its own connections"),
    Declared(
        "segment-ahead-of-window",
        "nftables",
        ANY,
        "reset",
        "no workaround but conntrack.tcpBeLiberal, off by default (KEP-3866)",
    ),
    # Whether the nodes hold externalIPs and load balancer IPs as addresses of their own.
    Declared("external-ip-on-node", "iptables", ANY, "no", "virtual IPs are only rules"),
    Declared("external-ip-on-node", "ipvs", ANY, "kube-ipvs0", "ipvs serves only local addresses"),
    Declared("external-ip-on-node", "nftables", ANY, "no", "virtual IPs are only rules"),
    # A ping of a ClusterIP: no mode promises anything.
    *alike("clusterip-ping", RECORDED, "Services are ports; what a ping meets is the mode's own affair"),
    # A NodePort on an address of the node that is not its InternalIP.
    Declared("nodeport-second-address", "iptables", ANY, "answers", "nodePortAddresses: all by default"),
    Declared("nodeport-second-address", "ipvs", ANY, "answers", "nodePortAddresses: all by default"),
    Declared("nodeport-second-address", "nftables", ANY, "refused", "nodePortAddresses: primary by default"),
    # The client's address as the pod sees it.
    *alike("client-address-of-node", NODES_OWN, "masqueraded: it comes from outside of the pod network"),
    *alike("client-address-of-pod", CLIENTS_OWN, "inside of the pod network nothing is masqueraded"),
    *alike("client-address-cluster", ASKED_NODES, "masqueraded, so that the answer comes back the same way"),
    *alike("client-address-local", CLIENTS_OWN, "externalTrafficPolicy Local keeps it"),
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
