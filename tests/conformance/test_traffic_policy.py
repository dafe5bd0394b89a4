"""Traffic policies, and whose address a pod sees.

The first node has none of the pods; each other node has one. With policy Local a client is served by the pod
of the node whose rules it meets: inside its own node's, from outside those of the node that it connects to.
Local pods and the node itself are agreed exceptions for NodePorts (kubernetes#108526), so that what a
NodePort drops is asked from outside.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import pytest

from . import host_ports
from .clients import addresses, assert_as_declared, assert_by_node, assert_from, patience
from .declared import Declared, declared
from .neighbours import own_address
from .nodes import Node, on_each
from .probing import FromNode, FromOutside, FromPod
from .stage import Published, Stage
from .together import at_once, each
from .workload import TARGET_PORT

LABELS, HOST_LABELS = {"app": "policy"}, {"app": "policy-on-host"}
REQUESTS = 10
HOST_PORT = host_ports.draw()
"""Where mytest listens on the nodes themselves."""


@pytest.fixture(scope="module")
def pods(stage: Stage, nodes: tuple[Node, ...]) -> dict[str, str]:
    """One pod on each node but the first: node to pod."""
    made = {node.name: stage.pod(LABELS, node=node.name) for node in nodes[1:]}
    stage.wait(*made.values())
    return made


@pytest.fixture(scope="module")
def on_host(stage: Stage, nodes: tuple[Node, ...]) -> dict[str, str]:
    """The same, in the network of the node; such a pod's hostname is its node's."""
    made = {
        node.name: stage.pod(
            HOST_LABELS, node=node.name, port=HOST_PORT, hostNetwork=True, dnsPolicy="Default"
        )
        for node in nodes[1:]
    }
    stage.wait(*made.values())
    return made


@pytest.fixture(scope="module")
def host_clients(stage: Stage, nodes: tuple[Node, ...]) -> dict[str, FromPod]:
    """Pods to connect from that have the network of their node: on the first and the second."""
    made = {
        node.name: stage.pod({}, node=node.name, client=True, server=False, hostNetwork=True)
        for node in nodes[:2]
    }
    stage.wait(*made.values())
    return {node: stage.client(pod) for node, pod in made.items()}


@pytest.fixture(scope="module")
def internal(stage: Stage, pods: Mapping[str, str]) -> Published:
    """internalTrafficPolicy Local in front of the pods."""
    made = stage.service(LABELS, internalTrafficPolicy="Local")
    stage.settle(made, pods.values())
    return made


@pytest.fixture(scope="module")
def external(stage: Stage, pods: Mapping[str, str]) -> Published:
    """A NodePort with externalTrafficPolicy Local in front of the pods."""
    made = stage.service(LABELS, type="NodePort", externalTrafficPolicy="Local")
    stage.settle(made, pods.values())
    return made


@pytest.fixture(scope="module")
def everywhere(stage: Stage, pods: Mapping[str, str]) -> Published:
    """A NodePort with both policies Cluster in front of the pods."""
    made = stage.service(LABELS, type="NodePort")
    stage.settle(made, pods.values())
    return made


@pytest.fixture
def nobody_here(mode: str, version: str) -> Declared:
    """What a ClusterIP with policy Local does on a node without a pod of the Service."""
    return declared("internal-local-no-local-pod", mode=mode, version=version)


@pytest.mark.behaviour("internal-policy-local-pod-to-pod")
def test_internal_local_keeps_pods_to_their_node(
    internal: Published,
    pods: Mapping[str, str],
    pod_clients: Mapping[str, FromPod],
    nobody_here: Declared,
) -> None:
    assert_by_node(pod_clients, url=internal.url, answers=pods, otherwise=nobody_here)


@pytest.mark.behaviour("internal-policy-local-host-network-to-pod")
def test_internal_local_keeps_nodes_to_themselves(
    internal: Published,
    pods: Mapping[str, str],
    node_clients: Mapping[str, FromNode],
    host_clients: Mapping[str, FromPod],
    nobody_here: Declared,
) -> None:
    """The nodes, and pods that have their network."""
    assert_by_node(node_clients, host_clients, url=internal.url, answers=pods, otherwise=nobody_here)


@pytest.mark.behaviour("internal-policy-local-to-host-network")
def test_internal_local_leads_to_a_pod_in_the_nodes_own_network(
    stage: Stage,
    on_host: Mapping[str, str],
    pod_clients: Mapping[str, FromPod],
    node_clients: Mapping[str, FromNode],
    nobody_here: Declared,
) -> None:
    ports = [{"port": 80, "targetPort": HOST_PORT}]
    service = stage.service(HOST_LABELS, internalTrafficPolicy="Local", ports=ports)
    stage.settle(service, on_host.values())
    names = {node: node for node in on_host}
    assert_by_node(pod_clients, node_clients, url=service.url, answers=names, otherwise=nobody_here)


@pytest.mark.behaviour("internal-policy-local-of-a-nodeport")
def test_internal_local_of_a_nodeport_without_a_local_pod(
    stage: Stage,
    pods: Mapping[str, str],
    pod_clients: Mapping[str, FromPod],
    mode: str,
    version: str,
) -> None:
    """A NodePort beside it must not change what the ClusterIP does."""
    service = stage.service(LABELS, type="NodePort", internalTrafficPolicy="Local")
    stage.settle(service, pods.values())
    entry = declared("internal-local-of-a-nodeport-no-local-pod", mode=mode, version=version)
    assert_by_node(pod_clients, url=service.url, answers=pods, otherwise=entry)
    service.delete()


@pytest.mark.behaviour("external-policy-local-nodeport")
def test_external_local_keeps_the_clients_address(
    external: Published, pods: Mapping[str, str], nodes: tuple[Node, ...], outside: FromOutside
) -> None:
    """From outside, to each node that has a pod; and it is that pod that answers."""
    cases = []
    for node in nodes[1:]:
        url = f"http://{node.address}:{external.node_port}"
        who, seen = outside.probe(url, f"{url}/clientip", count=REQUESTS)
        cases.append((node.name, partial(who.assert_all_answered, by={pods[node.name]})))
        cases.append((node.name, partial(assert_from, seen, {own_address(node.address)})))
    each(cases)


@pytest.mark.behaviour("external-policy-local-nodeport")
def test_external_local_keeps_another_nodes_address(
    external: Published, nodes: tuple[Node, ...], node_clients: Mapping[str, FromNode]
) -> None:
    first, second = nodes[:2]
    url = f"http://{second.address}:{external.node_port}/clientip"
    (seen,) = node_clients[first.name].probe(url, count=REQUESTS)
    assert_from(seen, {first.address})


@pytest.mark.behaviour("external-policy-local-no-local-pod")
def test_external_local_drops_where_there_is_no_pod(
    external: Published, nodes: tuple[Node, ...], outside: FromOutside, mode: str, version: str
) -> None:
    entry = declared("external-local-no-local-pod", mode=mode, version=version)
    url = f"http://{nodes[0].address}:{external.node_port}"
    (outcome,) = outside.probe(url, count=1, timeout=patience(entry))
    assert_as_declared(outcome, entry)


@pytest.mark.behaviour("external-policy-cluster-nodeport")
def test_external_cluster_hides_the_client_behind_the_node(
    everywhere: Published, pods: Mapping[str, str], nodes: tuple[Node, ...], outside: FromOutside
) -> None:
    """Every node answers, also by other nodes' pods, which see the node that was asked."""
    cases = []
    for node in nodes:
        url = f"http://{node.address}:{everywhere.node_port}"
        who, seen = outside.probe(url, f"{url}/clientip", count=2 * REQUESTS)
        cases.append((node.name, partial(who.assert_all_answered, by=set(pods.values()))))
        cases.append((node.name, partial(assert_from, seen, addresses(node))))
    each(cases)


@pytest.mark.behaviour("clusterip-keeps-pod-address")
def test_clusterip_keeps_the_pods_address(
    everywhere: Published, pod_clients: Mapping[str, FromPod], stage: Stage
) -> None:
    """From a pod on each node, to pods of its own node and of another."""
    url = f"{everywhere.url}/clientip"
    seen = at_once(pod_clients, lambda client: client.probe(url, count=2 * REQUESTS)[0])
    each(
        (node, partial(assert_from, outcome, {stage.ip(pod_clients[node].pod)}))
        for node, outcome in seen.items()
    )


@pytest.mark.behaviour("no-snat-between-pods")
def test_pods_and_nodes_are_seen_as_they_are(
    stage: Stage,
    pods: Mapping[str, str],
    on_host: Mapping[str, str],
    pod_clients: Mapping[str, FromPod],
    node_clients: Mapping[str, FromNode],
    nodes: tuple[Node, ...],
) -> None:
    """Without any Service: pod to pod on every node, pod to its own node, node to pod."""
    ips = {node: stage.ip(pod) for node, pod in pods.items()}
    own = {node.name: f"http://{node.address}:{HOST_PORT}/clientip" for node in nodes if node.name in on_host}
    to_pods = [f"http://{ip}:{TARGET_PORT}/clientip" for ip in ips.values()]
    cases = []
    for node, outcomes in at_once(pod_clients, lambda client: client.probe(*to_pods, count=1)).items():
        mine = {stage.ip(pod_clients[node].pod)}
        cases += [(f"pod on {node}", partial(assert_from, outcome, mine)) for outcome in outcomes]
        if node in own:
            (outcome,) = pod_clients[node].probe(own[node], count=1)
            cases.append((f"pod on {node} to its node", partial(assert_from, outcome, mine)))
    known = on_each(nodes, addresses)
    for name, outcomes in at_once(node_clients, lambda client: client.probe(*to_pods, count=1)).items():
        cases += [(name, partial(assert_from, outcome, known[name])) for outcome in outcomes]
    each(cases)
