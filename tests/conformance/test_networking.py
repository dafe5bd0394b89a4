"""The network that Services stand on, check by check: who reaches whom, over HTTP and UDP.

Each check is made from every node at once. Where all backends must be seen, each position sends so many
requests that one of three is left out by chance in less than one of 10^10 runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pytest

from . import host_ports
from .everywhere import Everywhere, ask, assert_each_sees, check, target
from .net import ECHO_PORT, PROTOCOLS, Net, assert_whole, both, echo
from .nodes import Node
from .probing import Client, FromNode, FromPod
from .stage import Published, Stage
from .workload import TARGET_PORT

HOST_PORT, HOST_ECHO_PORT = host_ports.draw(), host_ports.draw()
"""Where the pods on their nodes' network listen."""
ENOUGH = 20
"""Requests to each target; a position has three or four: 3 times (2/3)^60 is 8e-11."""


@pytest.fixture(scope="module")
def net(stage: Stage, nodes: tuple[Node, ...], pod_clients: Mapping[str, FromPod]) -> Net:
    """One for this file: its tests only use it."""
    labels = {"app": "net"}
    backends = {
        node.name: stage.pod(labels, node=node.name, client=True, command=echo(ECHO_PORT)) for node in nodes
    }
    others = {f"the pod on {node}": client for node, client in pod_clients.items()}
    service = stage.service(labels, ports=both(), type="NodePort")
    stage.settle(service, list(backends.values()), port="http")
    return Net(stage, service, backends, others, tuple(node.address for node in nodes))


def behaviours(name: str) -> list[object]:
    """The two protocols as parameters; each proves a behaviour of its own."""
    return [
        pytest.param(protocol, marks=pytest.mark.behaviour(f"{name}-{protocol}")) for protocol in PROTOCOLS
    ]


def assert_each_reached(net: Net, clients: Mapping[str, Client], protocol: str) -> None:
    """Every client reaches every backend's own address, and nobody else answers there."""
    udp = protocol == "udp"
    ips = {pod: net.stage.ip(pod) for pod in net.backends.values()}
    places = {f"{'' if udp else 'http://'}{ip}:{TARGET_PORT}": pod for pod, ip in ips.items()}
    outcomes = ask(clients, list(places), udp=udp)
    check(outcomes, lambda outcome: outcome.assert_all_answered(by={places[outcome.target]}))


@pytest.mark.parametrize("protocol", behaviours("pod-to-pod"))
def test_pod_reaches_pods_of_every_node(net: Net, protocol: str) -> None:
    assert_each_reached(net, net.others, protocol)


@pytest.mark.parametrize("protocol", behaviours("node-to-pod"))
def test_node_reaches_pods_of_every_node(
    net: Net, node_clients: Mapping[str, FromNode], protocol: str
) -> None:
    assert_each_reached(net, node_clients, protocol)


def assert_served(net: Net, clients: Mapping[str, Client], protocol: str) -> None:
    """Every client reaches every backend through the Service: by its ClusterIP, and by all its NodePorts."""
    port = net.service.ports[protocol]
    outcomes = ask(clients, net.ways(port), count=ENOUGH, udp=port.protocol == "UDP")
    assert_each_sees(outcomes, set(net.backends.values()))


@pytest.mark.parametrize("protocol", behaviours("pod-to-service"))
def test_pod_reaches_service(net: Net, protocol: str) -> None:
    assert_served(net, net.others, protocol)


@pytest.mark.parametrize("protocol", behaviours("node-to-service"))
def test_node_reaches_service(net: Net, node_clients: Mapping[str, FromNode], protocol: str) -> None:
    assert_served(net, node_clients, protocol)


@pytest.mark.parametrize("protocol", behaviours("endpoint-to-service"))
def test_endpoint_reaches_its_own_service(net: Net, protocol: str) -> None:
    """Each backend is its own Service's client, and is answered by itself, too."""
    assert_served(net, net.pods(net.backends), protocol)


@pytest.mark.behaviour("nodeport-udp")
def test_node_port_over_udp(net: Net, everywhere: Everywhere) -> None:
    """From outside, over every node; from inside where this is no machine outside."""
    port = net.service.ports["udp"]
    places = [target(port, address) for address in everywhere.addresses]
    outcomes = ask(everywhere.outside or everywhere.inside, places, count=ENOUGH, udp=True)
    assert_each_sees(outcomes, set(net.backends.values()))


@dataclass(frozen=True)
class OnHost:
    """Backends on the network of their nodes."""

    service: Published
    pods: Mapping[str, str]
    """Node to pod."""
    names: frozenset[str]
    """What they say they are: such a pod has its node's name."""


@pytest.fixture(scope="module")
def on_host(net: Net, stage: Stage, nodes: tuple[Node, ...]) -> OnHost:
    """One on the first node and one on the last; `net` gives the clients."""
    labels = {"app": "on-host"}
    pods = {
        node.name: stage.pod(
            labels,
            node=node.name,
            port=HOST_PORT,
            client=True,
            command=echo(HOST_ECHO_PORT),
            hostNetwork=True,
        )
        for node in (nodes[0], nodes[-1])
    }
    service = stage.service(labels, ports=both(HOST_PORT, HOST_ECHO_PORT), type="NodePort")
    stage.settle(service, list(pods.values()), port="http")
    assert len(net.others) == len(nodes)
    return OnHost(service, pods, frozenset(uname(stage.client(pod)) for pod in pods.values()))


def uname(client: FromPod) -> str:
    """The host's name as a pod sees it."""
    return client.run("uname -n", timeout=20).strip()


@pytest.mark.behaviour("hostnetwork-endpoints")
def test_endpoints_on_the_hosts_network(
    net: Net, on_host: OnHost, node_clients: Mapping[str, FromNode], everywhere: Everywhere
) -> None:
    """They answer pods, nodes, themselves and outside, over both protocols."""
    clients = {**net.others, **node_clients, **net.pods(on_host.pods)}
    for protocol in PROTOCOLS:
        port = on_host.service.ports[protocol]
        places = net.ways(port)
        targets = {**dict.fromkeys(clients, places), **dict.fromkeys(everywhere.outside, places[1:])}
        outcomes = ask(
            {**clients, **everywhere.outside},
            targets,
            count=12,  # of two, one is left out by chance at a position in 3 of 10^11 runs
            udp=port.protocol == "UDP",
        )
        assert_each_sees(outcomes, set(on_host.names))


@pytest.mark.behaviour("hostnetwork-endpoints")
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_large_requests_to_the_hosts_network_come_back_whole(
    net: Net, on_host: OnHost, protocol: str
) -> None:
    assert_whole(net, on_host.service.ports[f"echo-{protocol}"])


@pytest.mark.parametrize("protocol", behaviours("large-requests"))
def test_large_requests_come_back_whole(net: Net, protocol: str) -> None:
    """1 MiB over TCP, a datagram of 8 KiB over UDP; from a pod on each node."""
    assert_whole(net, net.service.ports[f"echo-{protocol}"])
