"""What every node has programmed: rule by rule as the walk shows, and the EndpointSlices' backends."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from ipaddress import ip_address, ip_network

import pytest

from lab.proxy import Backend, Frontend, Kind, Masquerade, NodeRules, ServiceRules, read
from lab.proxy.addresses import interface_addresses
from lab.proxy.settings import Settings

from .cluster import Cluster, Port
from .declared import declared
from .nodes import Node
from .rulebook import Dumps, Rulebook, dumps
from .subject import Subject
from .waiting import PROGRAMMED, wait_until
from .walks import WALKS, Looked
from .workload import REPLICAS, Exposed, Workload


@pytest.fixture(scope="module")
def exposed(workload: Workload) -> Exposed:
    """A NodePort Service of this file's own, with three ready backends."""
    service = Exposed(workload, "mytest").expose(kind="NodePort")
    workload.settle(REPLICAS, service=service.name)
    return service


@pytest.fixture(scope="module")
def port(cluster: Cluster, exposed: Exposed) -> Port:
    """That Service's port."""
    (port,) = cluster.ports_of(exposed.namespace, exposed.name)
    return port


@pytest.fixture(scope="module")
def texts(nodes: tuple[Node, ...], exposed: Exposed, rulebook: Rulebook) -> dict[str, Dumps]:
    """Every node's rules as text, read once they equal the slices."""
    assert exposed.node_port
    rulebook.settle()
    return dumps(nodes)


@pytest.fixture
def rules(node: Node, texts: dict[str, Dumps], mode: str) -> NodeRules:
    """This node's rules."""
    return read(mode, texts[node.name])


def frontends(node: Node, rules: NodeRules, port: Port) -> list[ServiceRules]:
    """The Service on its ClusterIP and on this node's address."""
    assert port.node_port is not None
    wanted = [
        Frontend(port.cluster_ip, port.number, port.protocol),
        Frontend(node.address, port.node_port, port.protocol),
    ]
    for frontend in wanted:
        assert frontend in rules.services, f"{node.name}: no rules for {frontend}"
    return [rules.services[frontend] for frontend in wanted]


def pods(told: Settings) -> str:
    """The network by which kube-proxy tells pods; the test is skipped where it tells them otherwise."""
    if told.pods is None or "/" not in told.pods:
        pytest.skip("kube-proxy does not tell pods by their network")
    return told.pods


@pytest.mark.behaviour("rules-equal-endpointslices")
def test_every_node_equals_the_endpoint_slices(rulebook: Rulebook, exposed: Exposed) -> None:
    """Every Service of the cluster with every frontend, and nothing that another mode left behind."""
    assert exposed.node_port
    rulebook.settle()
    assert not (left := rulebook.residue()), "\n".join(left)


@pytest.mark.behaviour("rules-as-the-mode-writes-them")
def test_the_walk_rule_by_rule(
    node: Node,
    texts: dict[str, Dumps],
    cluster: Cluster,
    port: Port,
    subject: Subject,
    mode: str,
) -> None:
    told = subject.machine(node.name).settings
    WALKS[mode](
        Looked(
            node=node.name,
            texts=texts[node.name],
            port=port,
            endpoints=sorted(cluster.endpoints_of(port)),
            node_address=node.address,
            pod_cidr=pods(told),
            scheduler=told.scheduler,
        )
    )


@pytest.mark.behaviour("rules-take-effect")
def test_rules_take_effect(node: Node, mode: str, exposed: Exposed) -> None:
    """Once kube-proxy has seen an address of the node go that another test had given it for a while."""
    assert exposed.node_port

    def all_do() -> bool:
        rules = read(mode, dumps([node])[node.name])
        assert not rules.faults, f"{node.name}: {rules.faults}"
        return True

    wait_until(f"every rule on {node.name} to take effect", all_do, timeout=PROGRAMMED[mode])


@pytest.mark.behaviour("rules-share-evenly")
def test_three_backends_share_evenly(node: Node, rules: NodeRules, cluster: Cluster, port: Port) -> None:
    endpoints = sorted(cluster.endpoints_of(port))
    wanted = tuple(Backend(ip, number, Fraction(1, REPLICAS)) for ip, number in endpoints)
    for seen in frontends(node, rules, port):
        assert seen.backends == wanted, f"{node.name}: {seen.kind}: {seen.raw}"


@pytest.mark.behaviour("rules-masquerade")
def test_kinds_and_masquerading(node: Node, rules: NodeRules, port: Port, subject: Subject) -> None:
    pods(subject.machine(node.name).settings)
    on_cluster_ip, on_node_port = frontends(node, rules, port)
    assert (on_cluster_ip.kind, on_cluster_ip.masquerade) == (Kind.CLUSTER, Masquerade.OUTSIDE), (
        on_cluster_ip.raw
    )
    assert (on_node_port.kind, on_node_port.masquerade) == (Kind.NODEPORT, Masquerade.ALWAYS), (
        on_node_port.raw
    )
    assert on_cluster_ip.refusal is None
    assert on_cluster_ip.affinity is None


@pytest.mark.behaviour("rules-hairpin")
def test_hairpin_of_its_own_pods(
    node: Node, rules: NodeRules, cluster: Cluster, workload: Workload, port: Port
) -> None:
    """A pod reaches itself only if its own node masquerades it."""
    on_cluster_ip, _ = frontends(node, rules, port)
    hosts = cluster.pods_on(workload.namespace, workload.selector)
    local = {(ip, 8080) for name, ip in workload.pods().items() if hosts[name] == node.name}
    assert local <= on_cluster_ip.hairpin, f"{node.name}: {on_cluster_ip.raw}"


@pytest.mark.behaviour("rules-of-api-and-dns")
def test_api_and_dns_are_served(node: Node, rules: NodeRules, subject: Subject, cluster: Cluster) -> None:
    dns = subject.known("cluster_dns")
    (api,) = cluster.ports_of("default", "kubernetes")
    if subject.service_cidr is not None:
        assert ip_address(api.cluster_ip) == ip_network(subject.service_cidr)[1]
    seen = rules.services[Frontend(api.cluster_ip, 443, "TCP")]
    assert seen.endpoints == (subject.api_servers or cluster.endpoints_of(api)), f"{node.name}: {seen.raw}"
    replicas = set(cluster.pods("kube-system", {"k8s-app": "kube-dns"}).values())
    for protocol in ("UDP", "TCP"):
        seen = rules.services[Frontend(dns, 53, protocol)]
        assert seen.endpoints == {(ip, 53) for ip in replicas}, f"{node.name}: {seen.raw}"


@pytest.mark.behaviour("rules-as-the-mode-writes-them")
def test_scheduler_is_the_one_asked_for(
    node: Node, rules: NodeRules, port: Port, subject: Subject, mode: str
) -> None:
    wanted = subject.machine(node.name).settings.scheduler if mode == "ipvs" else None
    assert {seen.scheduler for seen in frontends(node, rules, port)} == {wanted}, node.name


@pytest.mark.behaviour("clusterip-on-node")
def test_cluster_ips_are_where_declared(
    node: Node, texts: dict[str, Dumps], cluster: Cluster, port: Port, mode: str, version: str
) -> None:
    """On kube-ipvs0, or on no device of the node at all."""
    entry = declared("clusterip-on-node", mode=mode, version=version)
    device = None if entry.expected == "no" else entry.expected
    # Services that stay all the time: other tests make and delete theirs meanwhile.
    known = {port.cluster_ip, *(one.cluster_ip for one in cluster.ports("kube-system"))}
    on = interface_addresses(texts[node.name]["ip-addr"])
    held = {ip: name for name, ips in on.items() for ip in ips}
    assert {ip: held.get(ip) for ip in known} == dict.fromkeys(known, device), f"{node.name}: {entry}"


@pytest.mark.behaviour("rules-nodeport-addresses")
def test_node_port_is_on_its_address(node: Node, rules: NodeRules, port: Port) -> None:
    assert node.address in rules.node_port_addresses, f"{node.name}: {rules.node_port_addresses}"
    served = Counter(frontend.ip for frontend in rules.services if frontend.port == port.node_port)
    assert served[node.address] == 1
