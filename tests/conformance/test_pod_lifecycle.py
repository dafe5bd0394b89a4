"""Pods on their way out, and pods that take over from others: connections go on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from threading import Event

import pytest
from lightkube.resources.core_v1 import Pod

from .everywhere import Everywhere, ask, check, target
from .nodes import Node
from .probing import Client, FromNode, Outcome
from .stage import SERVER, Published, Stage
from .waiting import wait_until
from .workload import POD_START, TARGET_PORT

LAST = 150
"""Seconds that a pod on its way out has left, and answers: more than the tests take. Its end is forced."""


def wait_until_leaving(stage: Stage, pod: str) -> None:
    """Until the pod was told to stop, and is still there: its server says so."""
    wait_until(
        f"{pod} to be told to stop",
        lambda: any(
            "told to stop" in line
            for line in stage.cluster.api.log(pod, namespace=stage.namespace, container=SERVER)
        ),
        timeout=POD_START,
    )
    meta = stage.cluster.api.get(Pod, pod, namespace=stage.namespace).metadata
    assert meta is not None
    assert meta.deletionTimestamp


@dataclass(frozen=True)
class Leaving:
    """A pod on its way out, and one that stays, on another node."""

    stage: Stage
    pod: str
    stays: str
    service: Published
    """Of the one that stays."""


@pytest.fixture(scope="module")
def leaving(stage: Stage, nodes: tuple[Node, ...]) -> Iterator[Leaving]:
    """One for this file: its tests only connect."""
    pod = stage.pod({}, node=nodes[-1].name, client=True, drain=LAST, grace=LAST)
    stays = stage.pod({"app": "stays"}, node=nodes[0].name, client=True)
    service = stage.service({"app": "stays"}, type="NodePort")
    stage.wait(pod)
    stage.settle(service, [stays])
    stage.delete(pod)
    wait_until_leaving(stage, pod)
    yield Leaving(stage, pod, stays, service)
    stage.cluster.remove(Pod, pod, namespace=stage.namespace)


@pytest.mark.behaviour("connect-to-terminating-pod")
@pytest.mark.parametrize("udp", [False, True], ids=["http", "udp"])
def test_pod_on_its_way_out_is_reached(leaving: Leaving, everywhere: Everywhere, udp: bool) -> None:
    """By its own address, from each node and from pods, for as long as it answers."""
    ip = leaving.stage.ip(leaving.pod)
    clients = {**everywhere.inside, "a pod of another node": leaving.stage.client(leaving.stays)}
    outcomes = ask(clients, [f"{'' if udp else 'http://'}{ip}:{TARGET_PORT}"], udp=udp)
    check(outcomes, lambda outcome: outcome.assert_all_answered(by={leaving.pod}))


@pytest.mark.behaviour("connect-from-terminating-pod")
@pytest.mark.parametrize("udp", [False, True], ids=["http", "udp"])
def test_pod_on_its_way_out_still_reaches_others(leaving: Leaving, everywhere: Everywhere, udp: bool) -> None:
    """A pod of another node by its address, and over TCP by a Service's ClusterIP and NodePorts."""
    (port,) = leaving.service.ports.values()
    places = [f"{'' if udp else 'http://'}{leaving.stage.ip(leaving.stays)}:{TARGET_PORT}"]
    if not udp:
        places += [target(port), *(target(port, address) for address in everywhere.addresses)]
    outcomes = ask({"the pod on its way out": leaving.stage.client(leaving.pod)}, places, udp=udp)
    check(outcomes, lambda outcome: outcome.assert_all_answered(by={leaving.stays}))


@pytest.mark.behaviour("readiness-gates-zero-downtime")
def test_one_pod_takes_over_by_readiness_gates_without_a_failed_request(
    stage: Stage, node_clients: Mapping[str, FromNode], everywhere: Everywhere
) -> None:
    """Blue serves until green does; whoever asks meanwhile is answered by one of them."""
    labels = {"app": "blue-green"}
    blue, green = (stage.pod(labels, ready=False) for _ in range(2))
    service = stage.service(labels)
    for pod in (blue, green):
        wait_until(
            f"the containers of {pod} to be ready",
            partial(has_condition, stage, pod, "ContainersReady"),
            timeout=POD_START,
            evidence=partial(stage.cluster.story, stage.namespace, pod),
        )
    assert not service.endpoints(), "a pod serves before its readiness gate is open"
    stage.set_ready(blue)
    stage.settle(service, [blue])
    check(ask(everywhere.inside, [service.url], count=10), lambda one: one.assert_all_answered(by={blue}))
    done = Event()
    with ThreadPoolExecutor(max_workers=len(node_clients)) as pool:
        asking = {
            position: pool.submit(ask_until, done, client, service.url)
            for position, client in node_clients.items()
        }
        try:
            stage.set_ready(green)
            stage.settle(service, [blue, green])
            stage.set_ready(blue, False)
            stage.settle(service, [green])
        finally:
            done.set()
    check(
        {position: found.result() for position, found in asking.items()},
        lambda one: one.assert_all_answered(by={blue, green}),
    )
    check(ask(everywhere.inside, [service.url], count=10), lambda one: one.assert_all_answered(by={green}))


def ask_until(done: Event, client: Client, url: str) -> list[Outcome]:
    """Ask again and again until the event is set, and once more."""
    outcomes = client.probe(url, count=20, pause=0.02)
    while not done.is_set():
        outcomes += client.probe(url, count=20, pause=0.02)
    return outcomes


def has_condition(stage: Stage, pod: str, kind: str) -> bool:
    """Whether a condition of the pod is true."""
    status = stage.cluster.api.get(Pod, pod, namespace=stage.namespace).status
    return any(one.type == kind and one.status == "True" for one in (status and status.conditions) or ())
