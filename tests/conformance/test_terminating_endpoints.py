"""Pods on their way out: the last ones go on serving until a ready one is there (KEP-1669).

One pod on the second node has been told to stop and answers on for minutes. It is all that is left behind
some Services; behind others there is a ready pod as well, on the third node. The first node has neither.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest

from .clients import assert_as_declared, assert_by_node, assert_from, patience
from .declared import Declared, declared
from .health import Health, health
from .neighbours import own_address
from .nodes import Node
from .probing import Client, FromNode, FromOutside, FromPod
from .stage import Published, Stage
from .together import at_once, each
from .waiting import wait_until
from .workload import POD_START

REQUESTS = 12
DRAIN, GRACE = 240, 250
"""Seconds that the pod answers once it is told to stop, and seconds until it is killed."""
LAST, ALL = {"app": "leaving", "leaves": "yes"}, {"app": "leaving"}
INTERNAL, EXTERNAL, CLUSTER = "internalTrafficPolicy=Local", "externalTrafficPolicy=Local", "Cluster"
SPECS: dict[str, dict[str, Any]] = {
    INTERNAL: {"internalTrafficPolicy": "Local"},
    EXTERNAL: {"externalTrafficPolicy": "Local", "type": "LoadBalancer"},
    CLUSTER: {"type": "NodePort"},
}


@dataclass(frozen=True)
class Leaving:
    """What is there once the one pod has been told to stop.

    Attributes:
        old: the pod that terminates, on node `where`.
        new: the ready pod, on node `elsewhere`.
        last: Services by their policy, with the terminating pod alone behind them.
        both: the same with both pods behind them.
        before: what the health check node port of the terminating pod's node said before.
    """

    old: str
    new: str
    where: Node
    elsewhere: Node
    last: Mapping[str, Published]
    both: Mapping[str, Published]
    before: Health


@pytest.fixture(scope="module")
def leaving(stage: Stage, nodes: tuple[Node, ...], outside: FromOutside) -> Iterator[Leaving]:
    """The pod is told to stop once everything works, and the rules that come of it are there."""
    where, elsewhere = nodes[1], nodes[2]
    old = stage.pod(LAST, node=where.name, drain=DRAIN, grace=GRACE)
    new = stage.pod(ALL, node=elsewhere.name)
    last = {policy: stage.service(LAST, **spec) for policy, spec in SPECS.items()}
    both = {policy: stage.service(ALL, **spec) for policy, spec in SPECS.items()}
    stage.wait(old, new)
    for service in last.values():
        stage.settle(service, [old])
    before = health(outside, where.address, health_port(last[EXTERNAL]))
    stage.delete(old)
    ip = stage.ip(old)
    for service in (*last.values(), *both.values()):
        wait_until(
            f"{old} to terminate in the EndpointSlices of {service.name}",
            partial(terminates, stage, service.name, ip),
            timeout=POD_START,
        )
    assert not last[CLUSTER].endpoints(), f"{old} is still said to be ready"
    stage.rulebook.settle()
    yield Leaving(old, new, where, elsewhere, last, both, before)
    stage.delete(old, grace=0)


@pytest.fixture
def nobody_here(mode: str, version: str) -> Declared:
    """What a ClusterIP with policy Local does on a node without any pod."""
    return declared("internal-local-no-local-pod", mode=mode, version=version)


@pytest.fixture
def dropped(mode: str, version: str) -> Declared:
    """What a NodePort with policy Local does on a node without any pod."""
    return declared("external-local-no-local-pod", mode=mode, version=version)


def terminates(stage: Stage, service: str, ip: str) -> bool:
    """Whether a pod is among the Service's endpoints as one that terminates."""
    return ip in stage.cluster.leaving(stage.namespace, service)


def health_port(service: Published) -> int:
    """The Service's healthCheckNodePort."""
    spec = service.get().spec
    assert spec is not None
    assert spec.healthCheckNodePort, f"{service.name} has no healthCheckNodePort"
    return spec.healthCheckNodePort


def assert_answered(*groups: Mapping[str, Client], url: str, by: str) -> None:
    """Every client of every group is answered by this pod alone."""
    clients = {f"{client.name} on {node}": client for group in groups for node, client in group.items()}
    told = at_once(clients, lambda client: client.probe(url, count=REQUESTS)[0])
    each((place, partial(outcome.assert_all_answered, by={by})) for place, outcome in told.items())


@pytest.mark.behaviour("terminating-internal-cluster")
def test_internal_cluster_falls_back_to_the_terminating_pod(
    leaving: Leaving, node_clients: Mapping[str, FromNode], pod_clients: Mapping[str, FromPod]
) -> None:
    assert_answered(node_clients, pod_clients, url=leaving.last[CLUSTER].url, by=leaving.old)


@pytest.mark.behaviour("terminating-internal-local")
def test_internal_local_falls_back_to_the_local_terminating_pod(
    leaving: Leaving,
    node_clients: Mapping[str, FromNode],
    pod_clients: Mapping[str, FromPod],
    nobody_here: Declared,
) -> None:
    answers = {leaving.where.name: leaving.old}
    url = leaving.last[INTERNAL].url
    assert_by_node(node_clients, pod_clients, url=url, answers=answers, otherwise=nobody_here)


@pytest.mark.behaviour("terminating-external-cluster")
def test_external_cluster_falls_back_to_the_terminating_pod(
    leaving: Leaving,
    nodes: tuple[Node, ...],
    node_clients: Mapping[str, FromNode],
    outside: FromOutside,
) -> None:
    """By every node's NodePort, from outside and from every node."""
    urls = [f"http://{node.address}:{leaving.last[CLUSTER].node_port}" for node in nodes]
    clients: dict[str, Client] = {**node_clients, "outside": outside}
    told = at_once(clients, lambda client: client.probe(*urls, count=REQUESTS))
    each(
        (place, partial(outcome.assert_all_answered, by={leaving.old}))
        for place, outcomes in told.items()
        for outcome in outcomes
    )


@pytest.mark.behaviour("terminating-external-local")
def test_external_local_falls_back_to_the_local_terminating_pod(
    leaving: Leaving, nodes: tuple[Node, ...], outside: FromOutside, dropped: Declared
) -> None:
    """From outside, and the pod still sees who asks; other nodes drop it."""
    urls = {node.name: f"http://{node.address}:{leaving.last[EXTERNAL].node_port}" for node in nodes}
    url = urls.pop(leaving.where.name)
    who, seen = outside.probe(url, f"{url}/clientip", count=REQUESTS)
    who.assert_all_answered(by={leaving.old})
    assert_from(seen, {own_address(leaving.where.address)})
    others = outside.probe(*urls.values(), count=1, timeout=patience(dropped))
    each((other.target, partial(assert_as_declared, other, dropped)) for other in others)


@pytest.mark.behaviour("terminating-health-check")
def test_health_check_fails_with_only_a_terminating_pod(
    leaving: Leaving, nodes: tuple[Node, ...], outside: FromOutside, stage: Stage
) -> None:
    """It serves what comes, and asks for no more: 200 while the pod was ready, 503 now."""
    service = leaving.last[EXTERNAL]
    name = f"{stage.namespace}/{service.name}"
    assert leaving.before == Health(200, name, local_endpoints=1, weight=1)
    seen = {node.name: health(outside, node.address, health_port(service)) for node in nodes}
    assert seen == {node.name: Health(503, name, local_endpoints=0, weight=0) for node in nodes}


@pytest.mark.behaviour("terminating-after-ready")
def test_ready_pod_goes_before_the_terminating_one(
    leaving: Leaving,
    nodes: tuple[Node, ...],
    node_clients: Mapping[str, FromNode],
    pod_clients: Mapping[str, FromPod],
    outside: FromOutside,
) -> None:
    """With policy Cluster, from everywhere, nothing reaches the pod that terminates."""
    service = leaving.both[CLUSTER]
    assert_answered(node_clients, pod_clients, url=service.url, by=leaving.new)
    by_node_port = outside.probe(
        *(f"http://{node.address}:{service.node_port}" for node in nodes), count=REQUESTS
    )
    each((it.target, partial(it.assert_all_answered, by={leaving.new})) for it in by_node_port)


@pytest.mark.behaviour("terminating-local-after-local-ready")
def test_each_node_falls_back_for_itself(
    leaving: Leaving,
    nodes: tuple[Node, ...],
    node_clients: Mapping[str, FromNode],
    pod_clients: Mapping[str, FromPod],
    outside: FromOutside,
    nobody_here: Declared,
    dropped: Declared,
) -> None:
    """With policy Local, a ready pod on another node is no reason to leave the terminating one alone."""
    answers = {leaving.where.name: leaving.old, leaving.elsewhere.name: leaving.new}
    url = leaving.both[INTERNAL].url
    assert_by_node(node_clients, pod_clients, url=url, answers=answers, otherwise=nobody_here)
    urls = {node.name: f"http://{node.address}:{leaving.both[EXTERNAL].node_port}" for node in nodes}
    left = [urls[name] for name in urls if name not in answers]
    each(
        [
            *(
                (it.target, partial(it.assert_all_answered, by={pod}))
                for name, pod in answers.items()
                for it in outside.probe(urls[name], count=REQUESTS)
            ),
            *(
                (it.target, partial(assert_as_declared, it, dropped))
                for it in outside.probe(*left, count=1, timeout=patience(dropped))
            ),
        ]
    )
