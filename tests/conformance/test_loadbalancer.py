"""Services of type LoadBalancer: what kube-proxy makes of them, without any load balancer.

Two pods stand on the second node, one on the third, none on the first. From outside the address is reached by
a route through the node that the test names.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import pytest

from .balancing import assign, free_address, reached_by
from .clients import assert_as_declared, assert_from, patience
from .cluster import Cluster
from .declared import declared
from .expectation import Unmet
from .health import Health, health
from .neighbours import own_address
from .nodes import Node
from .probing import TOLD, Client, FromNode, FromOutside, FromPod
from .stage import Published, Stage
from .together import at_once, each
from .waiting import PROGRAMMED, wait_until
from .workload import TARGET_PORT

LABELS = {"app": "balanced"}
REQUESTS = 15
TWO_PROTOCOLS = [
    {"name": "tcp", "port": 80, "targetPort": TARGET_PORT},
    {"name": "udp", "port": 80, "targetPort": TARGET_PORT, "protocol": "UDP"},
]
STATIC = range(30040, 30086)
"""Node ports that the API does not draw by itself ("Avoiding collisions", KEP-3668)."""


@pytest.fixture(scope="module")
def pods(stage: Stage, nodes: tuple[Node, ...]) -> dict[str, set[str]]:
    """The pods behind every Service of this file: node to its pods."""
    _, second, third = nodes[:3]
    made = {
        second.name: {stage.pod(LABELS, node=second.name) for _ in range(2)},
        third.name: {stage.pod(LABELS, node=third.name)},
    }
    stage.wait(*everyone(made))
    return made


@pytest.fixture
def insiders(node_clients: Mapping[str, FromNode], pod_clients: Mapping[str, FromPod]) -> dict[str, Client]:
    """Each node and a pod on it."""
    return {**node_clients, **{f"pod on {node}": client for node, client in pod_clients.items()}}


@pytest.fixture
def address() -> str:
    """The load balancer's address."""
    return free_address()


def everyone(pods: Mapping[str, set[str]]) -> set[str]:
    """All pods."""
    return set().union(*pods.values())


def made(stage: Stage, pods: Mapping[str, set[str]], address: str, **spec: Any) -> Published:
    """A LoadBalancer in front of the pods that has got its address, with the rules that come of it."""
    service = stage.service(LABELS, type="LoadBalancer", **spec)
    assign(service, address)
    stage.settle(service, everyone(pods))
    return service


def assert_answered(
    clients: Mapping[str, Client], target: str, by: set[str], *, udp: bool = False, count: int = 6
) -> None:
    """Every client is answered every time, by these pods alone."""
    told = at_once(clients, lambda client: client.probe(target, udp=udp, count=count)[0])
    each((place, partial(outcome.assert_all_answered, by=by)) for place, outcome in told.items())


def assert_silent(clients: Mapping[str, Client], target: str, *, udp: bool = False) -> None:
    """No client is answered."""
    told = at_once(clients, lambda client: client.probe(target, udp=udp, count=1, timeout=1)[0])
    each((place, outcome.assert_none_answered) for place, outcome in told.items())


@pytest.mark.behaviour("loadbalancer-type-change-tcp", "loadbalancer-type-change-udp")
def test_type_and_ports_are_changed(
    stage: Stage,
    pods: Mapping[str, set[str]],
    insiders: Mapping[str, Client],
    outside: FromOutside,
    nodes: tuple[Node, ...],
    address: str,
) -> None:
    """ClusterIP, NodePort, LoadBalancer and back: each adds to the one before, over TCP and UDP."""
    by = everyone(pods)
    service = stage.service(LABELS, ports=TWO_PROTOCOLS)
    cluster_ip = service.cluster_ip
    service.patch(type="NodePort")
    node_ports = {name: port.node_port for name, port in service.ports.items()}
    assert all(node_ports.values())

    service.patch(type="LoadBalancer")
    assign(service, address)
    stage.settle(service, by, port="tcp")
    assert service.cluster_ip == cluster_ip
    assert {name: port.node_port for name, port in service.ports.items()} == node_ports
    with reached_by(outside, address, nodes[0]):
        clients = {**insiders, "outside": outside}
        assert_answered(clients, f"http://{address}:80", by)
        assert_answered(clients, f"{address}:80", by, udp=True)
        node = nodes[0].address
        assert_answered({"outside": outside}, f"http://{node}:{node_ports['tcp']}", by)
        assert_answered({"outside": outside}, f"{node}:{node_ports['udp']}", by, udp=True)

        service.patch(
            ports=[{**port, "port": 81, "nodePort": node_ports[str(port["name"])]} for port in TWO_PROTOCOLS]
        )
        stage.rulebook.settle()
        assert {name: port.node_port for name, port in service.ports.items()} == node_ports
        assert_answered(clients, f"http://{address}:81", by)
        assert_answered(clients, f"{address}:81", by, udp=True)
        assert_silent({"outside": outside}, f"http://{address}:80")

        assign(service)
        service.patch(type="ClusterIP")
        stage.rulebook.settle()
        assert service.cluster_ip == cluster_ip
        assert not any(port.node_port for port in service.ports.values())
        assert_silent(clients, f"http://{address}:81")
        assert_silent({"outside": outside}, f"{address}:81", udp=True)
        assert_silent({"outside": outside}, f"http://{node}:{node_ports['tcp']}")
    assert_answered(insiders, f"http://{cluster_ip}:81", by)
    service.delete()


@pytest.mark.behaviour("loadbalancer-two-protocols")
def test_both_protocols_of_a_port_are_served_inside(
    stage: Stage, pods: Mapping[str, set[str]], insiders: Mapping[str, Client]
) -> None:
    """By the ClusterIP of a LoadBalancer that nobody gives an address."""
    service = stage.service(LABELS, type="LoadBalancer", ports=TWO_PROTOCOLS)
    stage.settle(service, everyone(pods), port="udp")
    assert_answered(insiders, service.url, everyone(pods))
    assert_answered(insiders, f"{service.cluster_ip}:80", everyone(pods), udp=True)
    service.delete()


@pytest.mark.behaviour("loadbalancer-without-nodeport")
def test_no_node_port_is_allocated_until_it_is_wanted(
    stage: Stage,
    pods: Mapping[str, set[str]],
    outside: FromOutside,
    nodes: tuple[Node, ...],
    address: str,
) -> None:
    service = made(stage, pods, address, allocateLoadBalancerNodePorts=False)
    (port,) = service.ports.values()
    assert port.node_port is None
    with reached_by(outside, address, nodes[0]):
        assert_answered({"outside": outside}, f"http://{address}:80", everyone(pods))
        service.patch(allocateLoadBalancerNodePorts=True)
        stage.rulebook.settle()
        for target in (f"http://{address}:80", f"http://{nodes[0].address}:{service.node_port}"):
            assert_answered({"outside": outside}, target, everyone(pods))
    service.delete()


@pytest.mark.behaviour("loadbalancer-ip-mode-proxy")
def test_address_of_mode_proxy_is_left_to_its_load_balancer(
    stage: Stage,
    pods: Mapping[str, set[str]],
    insiders: Mapping[str, Client],
    outside: FromOutside,
    nodes: tuple[Node, ...],
    address: str,
) -> None:
    """No node serves it itself; with mode VIP each one does."""
    service = stage.service(LABELS, type="LoadBalancer")
    assign(service, address, ip_mode="Proxy")
    stage.settle(service, everyone(pods))
    assert_silent(insiders, f"http://{address}:80")
    assert_answered({"outside": outside}, f"http://{nodes[0].address}:{service.node_port}", everyone(pods))
    assign(service, address)
    stage.rulebook.settle()
    assert_answered(insiders, f"http://{address}:80", everyone(pods))
    service.delete()


@pytest.mark.behaviour("loadbalancer-source-ranges")
def test_source_ranges_are_let_through_alone(
    stage: Stage,
    pods: Mapping[str, set[str]],
    node_clients: Mapping[str, FromNode],
    pod_clients: Mapping[str, FromPod],
    outside: FromOutside,
    nodes: tuple[Node, ...],
    address: str,
    mode: str,
    version: str,
) -> None:
    """None set, those of one node and its pod, the outside machine's, and none again."""
    service = made(stage, pods, address)
    url, second = f"http://{address}:80", nodes[1]
    places: dict[str, Client] = {
        **node_clients,
        **{f"pod on {node}": client for node, client in pod_clients.items()},
        "outside": outside,
    }
    chosen = {second.name: second.address, f"pod on {second.name}": stage.ip(pod_clients[second.name].pod)}
    operator = {"outside": own_address(second.address)}
    blocked = declared("source-ranges-blocked", mode=mode, version=version)
    steps: list[tuple[list[str], set[str]]] = [
        ([], set(places)),
        ([f"{ip}/32" for ip in chosen.values()], set(chosen)),
        ([f"{ip}/32" for ip in operator.values()], set(operator)),
        ([], set(places)),
    ]
    with reached_by(outside, address, second):
        for ranges, allowed in steps:
            service.patch(loadBalancerSourceRanges=ranges or None)
            stage.rulebook.settle()
            waits = {place: TOLD if place in allowed else patience(blocked) for place in places}
            told = at_once(
                {place: (client, waits[place]) for place, client in places.items()},
                lambda it: it[0].probe(url, count=1, timeout=it[1])[0],
            )
            each(
                (
                    f"{place}, ranges {ranges}",
                    outcome.assert_all_answered
                    if place in allowed
                    else partial(assert_as_declared, outcome, blocked),
                )
                for place, outcome in told.items()
            )
    service.delete()


@pytest.mark.behaviour("loadbalancer-affinity")
@pytest.mark.parametrize("policy", ["Cluster", "Local"])
def test_affinity_is_kept_and_switched(
    stage: Stage,
    pods: Mapping[str, set[str]],
    outside: FromOutside,
    nodes: tuple[Node, ...],
    address: str,
    policy: str,
) -> None:
    """From outside, by a node with two pods: off, on and off again."""
    by = everyone(pods) if policy == "Cluster" else pods[nodes[1].name]
    service = made(stage, pods, address, externalTrafficPolicy=policy)
    with reached_by(outside, address, nodes[1]):
        for affinity in ("None", "ClientIP", "None"):
            service.patch(sessionAffinity=affinity)
            stage.rulebook.settle()
            (outcome,) = outside.probe(f"http://{address}:80", count=REQUESTS)
            outcome.assert_all_answered(by=by)
            if (len(outcome.answers) == 1) is not (affinity == "ClientIP"):
                raise Unmet(
                    expected=f"one pod just where affinity is on; it is {affinity}", seen=str(outcome)
                )
    service.delete()


@pytest.mark.behaviour("loadbalancer-external-local")
def test_external_local_keeps_addresses_and_nodes_apart(
    stage: Stage,
    pods: Mapping[str, set[str]],
    pod_clients: Mapping[str, FromPod],
    outside: FromOutside,
    nodes: tuple[Node, ...],
    address: str,
    mode: str,
    version: str,
) -> None:
    """By each node that has pods these answer and see the client; by the other one nobody does.

    Pods are an agreed exception: they reach the address from every node, and are seen as they are.
    """
    service = made(stage, pods, address, externalTrafficPolicy="Local")
    url = f"http://{address}:80"
    me = {own_address(nodes[0].address)}
    dropped = declared("external-local-no-local-pod", mode=mode, version=version)
    for node in nodes:
        with reached_by(outside, address, node):
            if node.name not in pods:
                assert_as_declared(outside.probe(url, count=1, timeout=patience(dropped))[0], dropped)
                continue
            who, seen = outside.probe(url, f"{url}/clientip", count=REQUESTS)
            who.assert_all_answered(by=pods[node.name])
            assert set(who.answers) == pods[node.name], f"by {node.name} not all of its pods: {who}"
            assert_from(seen, me)
    told = at_once(pod_clients, lambda client: client.probe(f"{url}/clientip", count=REQUESTS)[0])
    each(
        (f"pod on {node}", partial(assert_from, outcome, {stage.ip(pod_clients[node].pod)}))
        for node, outcome in told.items()
    )
    service.delete()


@pytest.mark.behaviour("external-policy-changes", "loadbalancer-health-check")
def test_node_ports_and_health_checks_follow_the_policy(
    stage: Stage,
    pods: Mapping[str, set[str]],
    cluster: Cluster,
    outside: FromOutside,
    nodes: tuple[Node, ...],
    mode: str,
    version: str,
) -> None:
    """Local, Cluster, and Local again with the same health check node port, which counts each node's pods."""
    taken = {port.node_port for port in cluster.ports()}
    check = next(number for number in STATIC if number not in taken)
    service = stage.service(
        LABELS, type="LoadBalancer", externalTrafficPolicy="Local", healthCheckNodePort=check
    )
    stage.settle(service, everyone(pods))
    name, port = f"{stage.namespace}/{service.name}", service.node_port
    dropped = declared("external-local-no-local-pod", mode=mode, version=version)
    closed = declared("nodeport-closed", mode=mode, version=version)

    def assert_local() -> None:
        """Nodes with pods answer and say how many, the others do not and say so."""
        me = {own_address(nodes[0].address)}
        counts = {node: len(pods.get(node.name, ())) for node in nodes}
        wanted = {node.name: Health(200 if n else 503, name, n, n) for node, n in counts.items()}

        def checked() -> bool:
            assert {node.name: health(outside, node.address, check) for node in nodes} == wanted
            return True

        wait_until(f"the health checks of {name} to count its pods", checked, timeout=PROGRAMMED[mode])
        for node, number in counts.items():
            url = f"http://{node.address}:{port}/clientip"
            if number:
                assert_from(outside.probe(url, count=REQUESTS)[0], me)
            else:
                assert_as_declared(outside.probe(url, count=1, timeout=patience(dropped))[0], dropped)

    assert_local()
    service.patch(externalTrafficPolicy="Cluster", healthCheckNodePort=None)
    spec = service.get().spec
    assert spec is not None
    assert not spec.healthCheckNodePort
    stage.rulebook.settle()
    for node in nodes:
        answered, checked = outside.probe(
            f"http://{node.address}:{port}", f"http://{node.address}:{check}/healthz", count=3
        )
        answered.assert_all_answered(by=everyone(pods))
        assert_as_declared(checked, closed)
    service.patch(externalTrafficPolicy="Local", healthCheckNodePort=check)
    stage.rulebook.settle()
    assert_local()
    service.delete()
