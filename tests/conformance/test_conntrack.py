"""UDP flows that never pause go on through changes of the backends: kube-proxy forgets what leads nowhere.

Each flow is one address and port that sends five times a second, so that its conntrack entry never times out.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytest
from lightkube.resources.core_v1 import Pod

from .flows import Flow, last_answers
from .nodes import Node
from .stage import SERVER, Published, Stage
from .waiting import PROGRAMMED, wait_until
from .workload import POD_START, TARGET_PORT

CLUSTER_IP, HOST_NETWORK, NODE_PORT, LOCAL = (
    "pod → ClusterIP",
    "hostNetwork pod → ClusterIP",
    "pod → NodePort",
    "pod → ClusterIP, internalTrafficPolicy Local",
)
OTHER_PORT = 9090


@dataclass(frozen=True)
class Clients:
    """A pod and a hostNetwork pod on the first of two nodes, and the node that the others' pods go to."""

    pod: str
    host: str
    node: Node
    other: Node


@pytest.fixture(scope="module")
def clients(stage: Stage, nodes: tuple[Node, ...]) -> Clients:
    """Both clients, Ready."""
    node, other = nodes[-2:]
    pod = stage.pod({"run": "client"}, node=node.name, client=True, server=False)
    host = stage.pod({"run": "client"}, node=node.name, client=True, server=False, hostNetwork=True)
    stage.wait(pod, host)
    return Clients(pod, host, node, other)


def udp(stage: Stage, labels: Mapping[str, str], **spec: Any) -> Published:
    """A Service of a UDP port."""
    return stage.service(labels, ports=[{"port": 80, "targetPort": TARGET_PORT, "protocol": "UDP"}], **spec)


@dataclass(frozen=True)
class Cycle:
    """What flows saw while the pod behind each Service was replaced: way to the pod, wanted and seen."""

    first: Mapping[str, str]
    seen_first: Mapping[str, str]
    second: Mapping[str, str]
    seen_second: Mapping[str, str]


@pytest.fixture(scope="module")
def cycle(stage: Stage, clients: Clients, mode: str) -> Cycle:
    """One pod in front of which all flows begin, another that replaces it."""
    anywhere, local = {"run": secrets.token_hex(4)}, {"run": secrets.token_hex(4)}
    service = udp(stage, anywhere, type="NodePort")
    kept_local = udp(stage, local, internalTrafficPolicy="Local")
    pod, host = stage.client(clients.pod), stage.client(clients.host)
    flows = {
        CLUSTER_IP: Flow(pod, f"{service.cluster_ip}:80"),
        HOST_NETWORK: Flow(host, f"{service.cluster_ip}:80"),
        NODE_PORT: Flow(pod, f"{clients.other.address}:{service.node_port}"),
        LOCAL: Flow(pod, f"{kept_local.cluster_ip}:80"),
    }

    def pods() -> dict[str, str]:
        far, near = stage.pod(anywhere, node=clients.other.name), stage.pod(local, node=clients.node.name)
        stage.wait(far, near)
        return {CLUSTER_IP: far, HOST_NETWORK: far, NODE_PORT: far, LOCAL: near}

    with ExitStack() as sending:
        # Before there is any endpoint, as clients are.
        for flow in flows.values():
            sending.enter_context(flow)
        first = pods()
        seen_first = last_answers(flows, first, timeout=2 * PROGRAMMED[mode])
        second = pods()
        stage.delete(*set(first.values()))
        stage.settle(service, {second[CLUSTER_IP]})
        stage.settle(kept_local, {second[LOCAL]})
        seen_second = last_answers(flows, second, timeout=PROGRAMMED[mode])
    return Cycle(first, seen_first, second, seen_second)


def assert_followed(cycle: Cycle, way: str) -> None:
    """The flow reached the first pod, and then the second."""
    assert cycle.seen_first[way] == cycle.first[way], f"{way}: the flow that began before any endpoint was"
    assert cycle.seen_second[way] == cycle.second[way], (
        f"{way}: {cycle.first[way]} is gone, {cycle.second[way]} is the endpoint, the rules say so; "
        f"the flow was last answered by {cycle.seen_second[way]}"
    )


@pytest.mark.behaviour("udp-flow-clusterip")
def test_flow_of_a_pod_to_the_cluster_ip_follows(cycle: Cycle) -> None:
    assert_followed(cycle, CLUSTER_IP)


@pytest.mark.behaviour("udp-flow-hostnetwork")
def test_flow_of_a_host_network_pod_to_the_cluster_ip_follows(cycle: Cycle) -> None:
    assert_followed(cycle, HOST_NETWORK)


@pytest.mark.behaviour("udp-flow-nodeport")
def test_flow_of_a_pod_to_the_node_port_follows(cycle: Cycle) -> None:
    assert_followed(cycle, NODE_PORT)


@pytest.mark.behaviour("udp-flow-internal-local")
def test_flow_of_a_pod_to_a_local_pod_follows(cycle: Cycle) -> None:
    assert_followed(cycle, LOCAL)


def serves(stage: Stage, pod: str) -> bool:
    """Whether the pod's mytest is ready, whatever the pod as a whole is."""
    status = stage.cluster.api.get(Pod, pod, namespace=stage.namespace).status
    return any(one.name == SERVER and one.ready for one in (status and status.containerStatuses) or [])


@pytest.mark.behaviour("udp-flow-unready-endpoint")
def test_flow_is_answered_once_an_unready_endpoint_is_ready(
    stage: Stage, clients: Clients, mode: str
) -> None:
    """Entries made while the only endpoint was not ready do not outlive that."""
    labels = {"run": secrets.token_hex(4)}
    service = udp(stage, labels)
    with Flow(stage.client(clients.pod), f"{service.cluster_ip}:80") as flow:
        pod = stage.pod(labels, node=clients.other.name, ready=False)
        wait_until(
            f"{pod} to be an endpoint of {service.name} that is not ready",
            lambda: [
                endpoint
                for part in stage.cluster.slices(stage.namespace, service.name)
                for endpoint in part.endpoints or []
                if endpoint.conditions and endpoint.conditions.ready is False
            ],
            timeout=POD_START,
        )
        wait_until(f"mytest in {pod} to serve", lambda: serves(stage, pod), timeout=POD_START)
        assert not flow.answers(), "nobody may answer before an endpoint is ready"
        stage.set_ready(pod)
        stage.settle(service, {pod})
        wanted = {"flow": pod}
        assert last_answers({"flow": flow}, wanted, timeout=PROGRAMMED[mode]) == wanted


@pytest.mark.behaviour("udp-flow-target-port")
def test_flow_follows_a_change_of_the_target_port(stage: Stage, clients: Clients, mode: str) -> None:
    """By NodePort; both ports of the pod go on answering, so that only what kube-proxy forgets decides."""
    labels = {"run": secrets.token_hex(4)}
    service = udp(stage, labels, type="NodePort")
    pod = stage.pod(labels, node=clients.other.name, client=True, own=True)
    stage.wait(pod)
    stage.client(pod).run(
        f"socat UDP4-RECVFROM:{OTHER_PORT},fork SYSTEM:'echo {OTHER_PORT}' > /dev/null 2>&1 < /dev/null &",
        timeout=20,
    )
    with Flow(stage.client(clients.pod), f"{clients.other.address}:{service.node_port}") as flow:
        stage.settle(service, {pod})
        before = last_answers({"flow": flow}, {"flow": pod}, timeout=PROGRAMMED[mode])
        assert before == {"flow": pod}, "the flow did not begin"
        service.patch(
            ports=[{"port": 80, "targetPort": OTHER_PORT, "protocol": "UDP", "nodePort": service.node_port}]
        )
        stage.settle(service, {pod})
        wanted = {"flow": str(OTHER_PORT)}
        assert last_answers({"flow": flow}, wanted, timeout=PROGRAMMED[mode]) == wanted
