"""trafficDistribution PreferSameNode: a node's clients are served by its own pods while it has any."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pytest

from .everywhere import Outcomes, answered_by, ask, check, target
from .nodes import Node
from .probing import Client, FromNode, FromOutside
from .stage import Published, Stage
from .waiting import wait_until
from .workload import POD_START

ENOUGH = 40
"""Requests after which both of two backends were chosen: 2 times (1/2)^40 is 2e-12."""
pytestmark = pytest.mark.behaviour("traffic-distribution-same-node")


@dataclass(frozen=True)
class Spread:
    """A backend on all nodes but the last, and a pod to connect from on each."""

    service: Published
    backends: Mapping[str, str]
    """Node to pod."""
    clients: Mapping[str, Client]
    """Node to a pod of it."""


def hints(service: Published) -> dict[str, tuple[str, ...]]:
    """Pod to the nodes that its endpoint is for, as the slices say; the ready ones alone."""
    return {
        (endpoint.targetRef.name or "") if endpoint.targetRef else "": tuple(
            node.name for node in (endpoint.hints and endpoint.hints.forNodes) or ()
        )
        for part in service.cluster.slices(service.namespace, service.name)
        for endpoint in part.endpoints or ()
        if endpoint.conditions and endpoint.conditions.ready
    }


def settle(stage: Stage, service: Published, backends: Mapping[str, str]) -> None:
    """Until these backends are the endpoints, each hinted for its own node, and every node's rules are so."""
    stage.wait(*backends.values())
    wanted = {pod: (node,) for node, pod in backends.items()}
    wait_until(
        f"each endpoint of {service.name} to be hinted for its node",
        lambda: hints(service) == wanted or _told(f"{hints(service)}, not {wanted}"),
        timeout=POD_START,
    )
    stage.rulebook.settle()


def _told(what: str) -> bool:
    raise AssertionError(what)


@pytest.fixture
def spread(stage: Stage, nodes: tuple[Node, ...]) -> Spread:
    """Of one test alone: it changes it."""
    labels = {"app": "spread"}
    *served, last = (node.name for node in nodes)
    backends = {name: stage.pod(labels, node=name, client=True) for name in served}
    alone = stage.pod({}, node=last, client=True, server=False)
    service = stage.service(labels, type="NodePort", trafficDistribution="PreferSameNode")
    stage.wait(alone)
    settle(stage, service, backends)
    pods = {**backends, last: alone}
    return Spread(service, backends, {name: stage.client(pod) for name, pod in pods.items()})


def test_same_node_is_preferred_and_others_help_out(
    spread: Spread,
    stage: Stage,
    nodes: tuple[Node, ...],
    node_clients: Mapping[str, FromNode],
    outside: FromOutside,
) -> None:
    """A node without a backend uses all; one that loses its own uses the rest, and its own again later."""
    first = nodes[0].name
    backends = dict(spread.backends)
    assert_preferred(ask_all(spread, nodes, node_clients, outside), backends, nodes)
    stage.delete(backends.pop(first))
    settle(stage, spread.service, backends)
    pods = {name: client for name, client in spread.clients.items() if name != first}
    less = Spread(spread.service, backends, pods)
    assert_preferred(ask_all(less, nodes, node_clients, outside), backends, nodes)
    backends[first] = stage.pod({"app": "spread"}, node=first, client=True)
    settle(stage, spread.service, backends)
    assert_preferred(ask_all(less, nodes, node_clients, outside), backends, nodes)


def ask_all(
    spread: Spread, nodes: tuple[Node, ...], node_clients: Mapping[str, FromNode], outside: FromOutside
) -> dict[str, Outcomes]:
    """What each node's clients saw: itself and its pod by the ClusterIP, outside by its NodePort."""
    (port,) = spread.service.ports.values()
    clients: dict[str, Client] = {}
    targets: dict[str, list[str]] = {}
    of: dict[str, list[str]] = {node.name: [] for node in nodes}
    for node in nodes:
        inside: dict[str, Client] = {node.name: node_clients[node.name]}
        if node.name in spread.clients:
            inside[f"the pod on {node.name}"] = spread.clients[node.name]
        by_node_port = f"outside by {node.name}"
        clients |= {**inside, by_node_port: outside}
        targets |= {position: [target(port)] for position in inside}
        targets[by_node_port] = [target(port, node.address)]
        of[node.name] = [*inside, by_node_port]
    outcomes = ask(clients, targets, count=ENOUGH)
    return {name: {position: outcomes[position] for position in found} for name, found in of.items()}


def assert_preferred(
    seen: Mapping[str, Outcomes], backends: Mapping[str, str], nodes: tuple[Node, ...]
) -> None:
    """A node with a backend of its own used that one alone, any other all of them."""
    for node in nodes:
        own = {backends[node.name]} if node.name in backends else set(backends.values())
        check(seen[node.name], lambda outcome, own=own: outcome.assert_all_answered(by=own))  # type: ignore[misc]
        for position, found in seen[node.name].items():
            assert answered_by(found) == own, f"{position}: {[str(one) for one in found]}, not all of {own}"
