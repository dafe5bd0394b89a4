"""Services answer while kube-proxy or the API server restarts, and what changed meanwhile is followed."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from .kubeproxy import KubeProxy
from .nodes import Node
from .probing import FromNode, FromOutside, Outcome
from .stage import Published, Stage
from .waiting import wait_until

pytestmark = pytest.mark.timeout(600)

REQUESTS, PAUSE = 150, 0.15
"""From each place, spread over the restart: at least 22 s."""
API_DOWN, API_BACK = 30.0, 240.0
"""Seconds until the API server that was killed has ended, and until its successor is ready."""
READY = "curl -sk -m 3 -o /dev/null -w '%{http_code}' https://127.0.0.1:6443/readyz"


@pytest.fixture
def published(stage: Stage, nodes: tuple[Node, ...]) -> tuple[Published, dict[str, str]]:
    """A NodePort Service with two pods, and the label that it selects."""
    labels = {"run": secrets.token_hex(4)}
    pods = [stage.pod(labels, node=node.name) for node in nodes[-2:]]
    service = stage.service(labels, type="NodePort")
    stage.settle(service, pods)
    return service, labels


@contextmanager
def asked_all_the_while(
    service: Published, nodes: tuple[Node, ...], outside: FromOutside
) -> Iterator[list[Outcome]]:
    """Requests from every node to the ClusterIP and from outside to the NodePort; then their outcomes."""
    found: list[Outcome] = []
    url, port = service.url, service.node_port
    with ThreadPoolExecutor(max_workers=len(nodes) + 1) as pool:
        running = [pool.submit(FromNode(node).probe, url, count=REQUESTS, pause=PAUSE) for node in nodes]
        target = f"http://{nodes[-1].address}:{port}"
        running.append(pool.submit(outside.probe, target, count=REQUESTS, pause=PAUSE))
        yield found
        for future in running:
            found += future.result()


@pytest.mark.behaviour("restart-kube-proxy")
def test_services_answer_while_kube_proxy_restarts(
    published: tuple[Published, dict[str, str]],
    stage: Stage,
    nodes: tuple[Node, ...],
    outside: FromOutside,
) -> None:
    """On every node at once; a pod that comes meanwhile is served by the new one's rules."""
    service, labels = published
    before = {ip for ip, _ in service.endpoints()}
    kube_proxy = KubeProxy(stage.cluster, nodes)
    with asked_all_the_while(service, nodes, outside) as outcomes:
        ended = kube_proxy.end()
        third = stage.pod(labels, node=nodes[-1].name)
        kube_proxy.await_successors(ended)
        stage.wait(third)
    pods = set(stage.cluster.pods(stage.namespace, labels))
    for outcome in outcomes:
        outcome.assert_all_answered(by=pods)
    assert len(pods) == len(before) + 1
    stage.settle(service, pods)
    for node in nodes:
        (outcome,) = FromNode(node).probe(service.url, count=60)
        outcome.assert_all_answered(by=pods)
        assert third in outcome.answers, f"{outcome}: {third} came while kube-proxy was away"


@pytest.mark.behaviour("restart-apiserver")
def test_services_answer_while_the_api_server_restarts(
    published: tuple[Published, dict[str, str]],
    stage: Stage,
    nodes: tuple[Node, ...],
    outside: FromOutside,
) -> None:
    """And a Service made afterwards has an address of its own, and is served."""
    service, labels = published
    pods = set(stage.cluster.pods(stage.namespace, labels))
    pids = {node.name: node.run("pgrep -x kube-apiserver", check=False).split() for node in nodes}
    masters = [node for node in nodes if pids[node.name]]
    if len(masters) != 1:
        pytest.skip(f"the API server runs on {len(masters)} of the nodes; this is about one")
    (master,) = masters
    (pid,) = pids[master.name]

    with asked_all_the_while(service, nodes, outside) as outcomes:
        # As in a crash: one that is told to end waits a minute for its watches.
        master.run(f"kill -9 {pid}")
        wait_until(
            f"the API server {pid} to end",
            lambda: not master.run(f"ls -d /proc/{pid} 2> /dev/null", check=False),
            timeout=API_DOWN,
        )
        wait_until(
            "another API server to be ready",
            lambda: master.run(READY, check=False) == "200",
            timeout=API_BACK,
            interval=2,
            evidence=lambda: master.run("tail -n 5 /var/log/containers/kube-apiserver-*.log", check=False),
        )
    for outcome in outcomes:
        outcome.assert_all_answered(by=pods)

    another = stage.service(labels)
    assert another.cluster_ip != service.cluster_ip
    third = stage.pod(labels, node=nodes[-1].name)
    for one in (service, another):
        stage.settle(one, {*pods, third})
    for node in nodes:
        for outcome in FromNode(node).probe(service.url, another.url, count=30):
            outcome.assert_all_answered(by={*pods, third})
