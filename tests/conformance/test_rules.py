"""What every node has programmed: rule by rule as the walk shows, and the EndpointSlices' backends."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction

import pytest

from lab.proxy import Backend, Frontend, Kind, Masquerade, NodeRules, ServiceRules, read

from .cluster import Cluster, Port
from .declared import declared
from .nodes import Node
from .rulebook import Dumps, Rulebook, dumps
from .subject import Lab
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


def test_every_node_equals_the_endpoint_slices(rulebook: Rulebook, exposed: Exposed) -> None:
    """Every Service of the cluster with every frontend, and nothing that another mode left behind."""
    assert exposed.node_port
    rulebook.settle()


def test_the_walk_rule_by_rule(
    node: Node,
    texts: dict[str, Dumps],
    cluster: Cluster,
    port: Port,
    lab: Lab,
    mode: str,
) -> None:
    WALKS[mode](
        Looked(
            node=node.name,
            texts=texts[node.name],
            port=port,
            endpoints=sorted(cluster.endpoints_of(port)),
            node_address=node.address,
            pod_cidr=str(lab.config.kubernetes.pod_cidr),
            scheduler=lab.config.proxy.ipvs_scheduler,
        )
    )


def test_rules_take_effect(node: Node, rules: NodeRules) -> None:
    assert not rules.faults, f"{node.name}: {rules.faults}"


def test_three_backends_share_evenly(node: Node, rules: NodeRules, cluster: Cluster, port: Port) -> None:
    endpoints = sorted(cluster.endpoints_of(port))
    wanted = tuple(Backend(ip, number, Fraction(1, REPLICAS)) for ip, number in endpoints)
    for seen in frontends(node, rules, port):
        assert seen.backends == wanted, f"{node.name}: {seen.kind}: {seen.raw}"


def test_kinds_and_masquerading(node: Node, rules: NodeRules, port: Port) -> None:
    on_cluster_ip, on_node_port = frontends(node, rules, port)
    assert (on_cluster_ip.kind, on_cluster_ip.masquerade) == (Kind.CLUSTER, Masquerade.OUTSIDE), (
        on_cluster_ip.raw
    )
    assert (on_node_port.kind, on_node_port.masquerade) == (Kind.NODEPORT, Masquerade.ALWAYS), (
        on_node_port.raw
    )
    assert on_cluster_ip.refusal is None
    assert on_cluster_ip.affinity is None


def test_hairpin_of_its_own_pods(
    node: Node, rules: NodeRules, cluster: Cluster, workload: Workload, port: Port
) -> None:
    """A pod reaches itself only if its own node masquerades it."""
    on_cluster_ip, _ = frontends(node, rules, port)
    hosts = cluster.pods_on(workload.namespace, workload.selector)
    local = {(ip, 8080) for name, ip in workload.pods().items() if hosts[name] == node.name}
    assert local <= on_cluster_ip.hairpin, f"{node.name}: {on_cluster_ip.raw}"


def test_api_and_dns_are_served(node: Node, rules: NodeRules, lab: Lab, cluster: Cluster) -> None:
    api, dns = str(lab.config.kubernetes.service_cidr[1]), str(lab.config.kubernetes.cluster_dns)
    seen = rules.services[Frontend(api, 443, "TCP")]
    assert seen.endpoints == {(str(lab.config.master.address), 6443)}, f"{node.name}: {seen.raw}"
    replicas = set(cluster.pods("kube-system", {"k8s-app": "kube-dns"}).values())
    for protocol in ("UDP", "TCP"):
        seen = rules.services[Frontend(dns, 53, protocol)]
        assert seen.endpoints == {(ip, 53) for ip in replicas}, f"{node.name}: {seen.raw}"


def test_scheduler_is_the_one_asked_for(
    node: Node, rules: NodeRules, port: Port, lab: Lab, mode: str
) -> None:
    wanted = lab.config.proxy.ipvs_scheduler if mode == "ipvs" else None
    assert {seen.scheduler for seen in frontends(node, rules, port)} == {wanted}, node.name


def test_cluster_ips_are_where_declared(
    node: Node, rules: NodeRules, cluster: Cluster, mode: str, version: str
) -> None:
    entry = declared("clusterip-on-node", mode=mode, version=version)
    known = {port.cluster_ip for port in cluster.ports()}
    held = set(rules.bound_addresses)
    assert held == (known if entry.expected == "kube-ipvs0" else set()), f"{node.name}: {entry}"


def test_node_port_is_on_its_address(node: Node, rules: NodeRules, port: Port) -> None:
    assert node.address in rules.node_port_addresses, f"{node.name}: {rules.node_port_addresses}"
    served = Counter(frontend.ip for frontend in rules.services if frontend.port == port.node_port)
    assert served[node.address] == 1
