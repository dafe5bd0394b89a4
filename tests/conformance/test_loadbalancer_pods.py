"""Pods come and go behind a load balancer's address, and its clients outside do not notice."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Self

import pytest
from lightkube.resources.apps_v1 import Deployment

from .balancing import assign, free_address, reached_by
from .nodes import Node
from .probing import FromOutside, Outcome
from .stage import Stage
from .together import each
from .waiting import PROGRAMMED, wait_until
from .workload import POD_START, TARGET_PORT, probes

NAME = re.compile(r"Running on: (\S+)")
DRAIN, GRACE = 15, 20
"""Seconds that a replaced pod goes on answering, and until it is killed: the rules lose it in between."""


@pytest.fixture
def address() -> str:
    """The load balancer's address."""
    return free_address()


def ask(connection: socket.socket) -> str:
    """Who answers one datagram; nothing, if nobody does within a second."""
    try:
        connection.send(b"who answers?\n")
        found = NAME.search(connection.recv(2048).decode())
    except OSError:  # too late, or refused
        return ""
    return found[1] if found else ""


@pytest.mark.behaviour("loadbalancer-udp-other-node", "loadbalancer-udp-same-node")
@pytest.mark.parametrize("there", [2, 1], ids=["on another node", "on the same node"])
def test_udp_of_one_client_port_moves_to_the_new_pod(
    stage: Stage, nodes: tuple[Node, ...], outside: FromOutside, address: str, mode: str, there: int
) -> None:
    """It never stops sending, so that only whoever forgets the old pod's connection lets it move."""
    labels = {"app": f"cycles-{there}"}
    ports = [{"port": 80, "targetPort": TARGET_PORT, "protocol": "UDP"}]
    service = stage.service(labels, type="LoadBalancer", ports=ports)
    assign(service, address)
    old = stage.pod(labels, node=nodes[1].name)
    stage.settle(service, [old])
    with (
        reached_by(outside, address, nodes[0]),
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as connection,
    ):
        connection.settimeout(1)
        connection.connect((address, 80))
        assert {ask(connection) for _ in range(5)} == {old}
        new = stage.pod(labels, node=nodes[there].name)
        wait_until(
            f"{new} to be Ready",
            lambda: bool(ask(connection)) and stage.cluster.is_ready(stage.namespace, new),
            timeout=POD_START,
        )
        stage.delete(old, grace=0)
        wait_until(
            f"{new} to answer after {old}",
            lambda: ask(connection) == new,
            timeout=POD_START + PROGRAMMED[mode],
        )
        assert {ask(connection) for _ in range(5)} == {new}
    service.delete()


class Requests:
    """Fresh connections without end, one after another, until they are told to stop."""

    def __init__(self, client: FromOutside, url: str) -> None:
        self.client, self.url = client, url
        self.outcomes: list[Outcome] = []
        self._enough = threading.Event()
        self._pool = ThreadPoolExecutor(max_workers=1)

    def _run(self) -> None:
        while not self._enough.is_set():
            self.outcomes += self.client.probe(self.url, count=40, timeout=5, pause=0.02)

    def __enter__(self) -> Self:
        self._running = self._pool.submit(self._run)
        return self

    def __exit__(self, *_: object) -> None:
        self._enough.set()
        self._pool.shutdown()
        self._running.result()

    @property
    def answers(self) -> set[str]:
        """Everyone who has answered."""
        return {pod for outcome in self.outcomes for pod in outcome.answers}

    def wait_for(self, pods: set[str]) -> None:
        """Wait until each of these pods has answered; one that was not asked would prove nothing."""
        wait_until(
            f"answers of {', '.join(sorted(pods))} at {self.url}",
            lambda: self._running.done() or pods <= self.answers,
            timeout=POD_START,
            evidence=lambda: f"answered: {', '.join(sorted(self.answers))}",
        )


@pytest.fixture
def rolled(stage: Stage, nodes: tuple[Node, ...]) -> Iterator[dict[str, Any]]:
    """A Deployment of two pods on the second node that is replaced one by one; its manifest's spec."""
    container = {
        **stage.cluster.container("mytest"),
        "args": [f"--listen=:{TARGET_PORT}", f"--drain={DRAIN}s"],
        **probes(),
    }
    labels = {"app": "rolled"}
    spec = {
        "replicas": 2,
        "selector": {"matchLabels": labels},
        "strategy": {"rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
        "template": {
            "metadata": {"labels": labels},
            "spec": {
                "terminationGracePeriodSeconds": GRACE,
                "nodeSelector": {"kubernetes.io/hostname": nodes[1].name},
                "containers": [container],
            },
        },
    }
    stage.apply("apps/v1", "Deployment", "rolled", {"spec": spec})
    yield spec
    stage.cluster.remove(Deployment, "rolled", namespace=stage.namespace)
    stage.delete(*stage.cluster.pods(stage.namespace, labels), grace=0)


@pytest.mark.behaviour("loadbalancer-rolling-update-cluster", "loadbalancer-rolling-update-local")
def test_rolling_update_loses_no_connection(
    stage: Stage, nodes: tuple[Node, ...], outside: FromOutside, rolled: dict[str, Any]
) -> None:
    """With policy Cluster and Local at once; upstream lets one of twenty fail, here none may."""
    labels = rolled["selector"]["matchLabels"]
    services = {
        policy: stage.service(labels, type="LoadBalancer", externalTrafficPolicy=policy)
        for policy in ("Cluster", "Local")
    }
    addresses = {policy: free_address() for policy in services}
    for policy, service in services.items():
        assign(service, addresses[policy])

    def pods() -> set[str]:
        return set(stage.cluster.pods(stage.namespace, labels))

    def complete() -> bool:
        status = stage.cluster.deployment(stage.namespace, "rolled").status
        return (status and status.updatedReplicas, status and status.availableReplicas) == (2, 2)

    wait_until("two pods of the Deployment to be ready", complete, timeout=POD_START)
    before = pods()
    for service in services.values():
        stage.settle(service, before)
    with (
        reached_by(outside, addresses["Cluster"], nodes[1]),
        reached_by(outside, addresses["Local"], nodes[1]),
        Requests(outside, f"http://{addresses['Cluster']}:80") as by_cluster,
        Requests(outside, f"http://{addresses['Local']}:80") as by_local,
    ):
        for asked in (by_cluster, by_local):
            asked.wait_for(before)
        again = {"spec": {"template": {"metadata": {"annotations": {"rolled": "again"}}}}}
        stage.cluster.api.patch(Deployment, "rolled", again, namespace=stage.namespace)
        wait_until(
            "new pods in the place of both", lambda: complete() and not pods() & before, timeout=POD_START
        )
        wait_until(
            "the old pods to leave the EndpointSlices",
            lambda: not any(stage.cluster.leaving(stage.namespace, it.name) for it in services.values()),
            timeout=POD_START,
        )
        after = pods()
        for service in services.values():
            stage.settle(service, after)
        for asked in (by_cluster, by_local):
            asked.wait_for(before | after)
    for asked in (by_cluster, by_local):
        each((asked.url, partial(outcome.assert_all_answered, before | after)) for outcome in asked.outcomes)
    for service in services.values():
        service.delete()
