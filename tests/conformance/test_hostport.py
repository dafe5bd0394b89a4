"""HostPort: a pod's port on its node's address, by the CNI's portmap plugin and not by kube-proxy."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from lightkube.resources.core_v1 import Pod

from . import host_ports
from .nodes import Node
from .probing import Client, FromNode, FromOutside
from .stage import SERVER, Manifest, Stage
from .waiting import wait_until
from .workload import TARGET_PORT, probes

LOOPBACK = "127.0.0.1"


def publish(stage: Stage, node: Node, port: int, *, ip: str | None = None, protocol: str = "TCP") -> str:
    """A pod of mytest with a hostPort on this node; says its name and does not wait."""
    opened: Manifest = {"containerPort": TARGET_PORT, "hostPort": port, "protocol": protocol}
    container: Manifest = {
        **stage.cluster.container(SERVER),
        "args": [f"--listen=:{TARGET_PORT}", "--drain=0s"],
        "ports": [opened | ({"hostIP": ip} if ip else {})],
        **probes(),
    }
    return stage.pod({"run": "hostport"}, node=node.name, containers=[container])


@dataclass(frozen=True)
class Published:
    """One host port three times on one node: by address and by protocol."""

    node: Node
    port: int
    on_loopback: str
    on_address: str
    over_udp: str


@pytest.fixture(scope="module")
def published(stage: Stage, nodes: tuple[Node, ...]) -> Published:
    """Three pods that do not conflict, Ready."""
    node, port = nodes[-1], host_ports.draw()
    found = Published(
        node,
        port,
        on_loopback=publish(stage, node, port, ip=LOOPBACK),
        on_address=publish(stage, node, port, ip=node.address),
        over_udp=publish(stage, node, port, ip=node.address, protocol="UDP"),
    )
    stage.wait(found.on_loopback, found.on_address, found.over_udp)
    return found


def told(stage: Stage, pod: str) -> str:
    """Why the scheduler finds no node for a pod; empty as long as it has not said so."""
    status = stage.cluster.api.get(Pod, pod, namespace=stage.namespace).status
    refused = [
        condition.message or ""
        for condition in (status and status.conditions) or []
        if condition.type == "PodScheduled" and condition.status == "False"
    ]
    return "".join(refused)


@pytest.mark.behaviour("hostport-no-conflict")
def test_each_address_and_protocol_reaches_its_own_pod(client: Client, published: Published) -> None:
    """From anywhere to the node's address; UDP on the same number is another pod's."""
    address = f"{published.node.address}:{published.port}"
    (over_tcp,) = client.probe(f"http://{address}")
    (over_udp,) = client.probe(address, udp=True)
    over_tcp.assert_all_answered(by={published.on_address})
    over_udp.assert_all_answered(by={published.over_udp})


@pytest.mark.behaviour("hostport-no-conflict")
def test_the_loopback_of_the_node_reaches_the_third_pod(published: Published) -> None:
    (outcome,) = FromNode(published.node).probe(f"http://{LOOPBACK}:{published.port}")
    outcome.assert_all_answered(by={published.on_loopback})


@pytest.mark.behaviour("hostport-conflict")
@pytest.mark.parametrize("ip", [None, "the node's address"], ids=["every-address", "same-address"])
def test_the_same_port_is_refused_until_it_is_free(
    stage: Stage, nodes: tuple[Node, ...], outside: FromOutside, ip: str | None
) -> None:
    """The second pod stays Pending, told why; once the first is gone it runs and the port is its own."""
    node, port = nodes[-1], host_ports.draw()
    address = node.address if ip else None
    first = publish(stage, node, port, ip=node.address)
    stage.wait(first)
    second = publish(stage, node, port, ip=address)
    why = wait_until(f"the scheduler to refuse {second}", lambda: told(stage, second), timeout=30)
    assert "free ports" in why, why
    (outcome,) = outside.probe(f"http://{node.address}:{port}")
    outcome.assert_all_answered(by={first})
    # With time to end: a pod that is deleted by force leaves the API before its node has let go of its port.
    stage.delete(first, grace=30)
    stage.wait(second)
    (outcome,) = outside.probe(f"http://{node.address}:{port}")
    outcome.assert_all_answered(by={second})
