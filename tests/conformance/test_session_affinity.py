"""Session affinity by the client's address: on, off, and forgotten after its timeout.

Each node keeps its own memory of who belongs where, so a client keeps to one pod by each address that it
connects to. Three pods stand behind every Service: without affinity 15 fresh connections all reach the same
one by chance in one of 3^14 cases, five million.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import partial

import pytest

from .declared import declared
from .expectation import Unmet
from .nodes import Node
from .probing import Client, FromNode, FromOutside, Outcome
from .stage import Published, Stage
from .together import at_once, each
from .workload import TARGET_PORT

LABELS = {"app": "sticky"}
REQUESTS = 15
PORTS = 16
"""Ports of the Service whose affinity is to end: each is a choice of its own. That all of them are made alike
a second time happens by chance in one of 3^16 cases, 43 million."""
TIMEOUT = 10


@pytest.fixture(scope="module")
def pods(stage: Stage, nodes: tuple[Node, ...]) -> dict[str, str]:
    """The pods behind every Service of this file, clients as well: node to pod."""
    made = {node.name: stage.pod(LABELS, node=node.name, client=True) for node in nodes}
    stage.wait(*made.values())
    return made


@pytest.fixture(scope="module")
def insiders(
    stage: Stage, pods: Mapping[str, str], node_clients: Mapping[str, FromNode]
) -> dict[str, Client]:
    """Each node, and on each a pod, which is a backend as well."""
    return {**node_clients, **{f"pod on {node}": stage.client(pod) for node, pod in pods.items()}}


@pytest.fixture(scope="module")
def everyone(insiders: Mapping[str, Client], outside: FromOutside) -> dict[str, Client]:
    """The outside machine as well."""
    return {**insiders, "outside": outside}


@pytest.fixture(scope="module")
def sticky(stage: Stage, pods: Mapping[str, str]) -> Published:
    """A Service with affinity, over TCP and UDP."""
    made = stage.service(
        LABELS,
        type="NodePort",
        sessionAffinity="ClientIP",
        ports=[
            {"name": "http", "port": 80, "targetPort": TARGET_PORT},
            {"name": "udp", "port": 80, "targetPort": TARGET_PORT, "protocol": "UDP"},
        ],
    )
    stage.settle(made, pods.values(), port="http")
    return made


def assert_kept(outcome: Outcome) -> None:
    """All requests were answered, by one pod."""
    outcome.assert_all_answered()
    if len(outcome.answers) != 1:
        what = f"all requests of {outcome.client} to {outcome.target} answered by one pod"
        raise Unmet(expected=what, seen=str(outcome), asked=outcome.asked)


def assert_spread(outcome: Outcome) -> None:
    """All requests were answered, by several pods."""
    outcome.assert_all_answered()
    if len(outcome.answers) == 1:
        what = f"the requests of {outcome.client} to {outcome.target} answered by several pods"
        raise Unmet(expected=what, seen=str(outcome), asked=outcome.asked)


def node_ports(service: Published, nodes: tuple[Node, ...]) -> list[str]:
    """The URLs of the Service on every node."""
    return [f"http://{node.address}:{service.ports['http'].node_port}" for node in nodes]


def ask(
    clients: Mapping[str, Client], *targets: str, udp: bool = False, count: int = REQUESTS
) -> list[tuple[str, Outcome]]:
    """Fresh connections from every client to every target: client to outcome."""
    told = at_once(clients, lambda client: client.probe(*targets, count=count, udp=udp))
    return [(place, outcome) for place, outcomes in told.items() for outcome in outcomes]


@pytest.mark.behaviour("session-affinity-clusterip")
def test_each_client_keeps_to_one_pod_by_clusterip(sticky: Published, insiders: Mapping[str, Client]) -> None:
    each((place, partial(assert_kept, outcome)) for place, outcome in ask(insiders, sticky.url))


@pytest.mark.behaviour("session-affinity-nodeport")
def test_each_client_keeps_to_one_pod_by_each_nodeport(
    sticky: Published, everyone: Mapping[str, Client], nodes: tuple[Node, ...]
) -> None:
    targets = node_ports(sticky, nodes)
    each((place, partial(assert_kept, outcome)) for place, outcome in ask(everyone, *targets))


@pytest.mark.behaviour("session-affinity-udp")
def test_each_client_keeps_to_one_pod_over_udp(
    sticky: Published, everyone: Mapping[str, Client], outside: FromOutside, nodes: tuple[Node, ...]
) -> None:
    insiders = {place: client for place, client in everyone.items() if client is not outside}
    answered = ask(insiders, f"{sticky.cluster_ip}:80", udp=True)
    port = sticky.ports["udp"].node_port
    answered += ask({"outside": outside}, *(f"{node.address}:{port}" for node in nodes), udp=True)
    each((place, partial(assert_kept, outcome)) for place, outcome in answered)


@pytest.mark.behaviour("session-affinity-clusterip-switched", "session-affinity-nodeport-switched")
def test_affinity_is_switched_on_and_off(
    stage: Stage,
    pods: Mapping[str, str],
    insiders: Mapping[str, Client],
    outside: FromOutside,
    nodes: tuple[Node, ...],
) -> None:
    ports = [{"name": "http", "port": 80, "targetPort": TARGET_PORT}]
    service = stage.service(LABELS, type="NodePort", ports=ports)
    stage.settle(service, pods.values(), port="http")
    targets = node_ports(service, nodes)
    for affinity, check in (("None", assert_spread), ("ClientIP", assert_kept), ("None", assert_spread)):
        service.patch(sessionAffinity=affinity)
        stage.rulebook.settle()
        answered = ask(insiders, service.url) + ask({"outside": outside}, *targets)
        each((f"{place}, {affinity}", partial(check, outcome)) for place, outcome in answered)
    service.delete()


@pytest.mark.behaviour("session-affinity-clusterip-timeout", "session-affinity-nodeport-timeout")
def test_affinity_is_forgotten_after_its_timeout(
    stage: Stage,
    pods: Mapping[str, str],
    insiders: Mapping[str, Client],
    outside: FromOutside,
    nodes: tuple[Node, ...],
    mode: str,
    version: str,
) -> None:
    """A client that is silent for longer than the timeout is sent anywhere again."""
    numbers = [{"name": f"p{one}", "port": one, "targetPort": TARGET_PORT} for one in range(80, 80 + PORTS)]
    service = stage.service(
        LABELS,
        type="NodePort",
        ports=numbers,
        sessionAffinity="ClientIP",
        sessionAffinityConfig={"clientIP": {"timeoutSeconds": TIMEOUT}},
    )
    stage.settle(service, pods.values(), port="p80")
    ports = service.ports.values()
    by_cluster_ip = [f"http://{port.cluster_ip}:{port.number}" for port in ports]
    by_node_port = [f"http://{nodes[-1].address}:{port.node_port}" for port in ports]

    def choices(client: Client, *, rounds: int) -> list[list[str]]:
        """Which pod each port leads to, asked so many times in turn."""
        targets = by_node_port if client is outside else by_cluster_ip
        outcomes = client.probe(*targets * rounds, count=1)
        for outcome in outcomes:
            outcome.assert_all_answered()
        chosen = [next(iter(outcome.answers)) for outcome in outcomes]
        return [chosen[start : start + PORTS] for start in range(0, len(chosen), PORTS)]

    clients = {**insiders, "outside": outside}
    first = at_once(clients, lambda client: choices(client, rounds=2))
    time.sleep(TIMEOUT + 2)
    later = at_once(clients, lambda client: choices(client, rounds=1)[0])
    service.delete()
    entry = declared("session-affinity-timeout", mode=mode, version=version)
    for place, (before, again) in first.items():
        assert before == again, f"{place}: another pod within the {TIMEOUT} s of the affinity"
        kept = later[place] == again
        seen = f"{place}, after {TIMEOUT + 2} s without a connection: {again}, then {later[place]}"
        assert kept is (entry.expected == "kept"), f"expected {entry.expected}; {seen}"
