"""NodePort: a Service becomes reachable on every node's address, and stops being so."""

from __future__ import annotations

import json
import secrets
import shlex
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from lightkube import ApiError
from lightkube.resources.core_v1 import Service

from .cluster import Cluster
from .declared import declared
from .nodes import Node, on_each
from .probing import Client, FromNode, FromOutside, Outcome
from .rulebook import Rulebook
from .workload import REPLICAS, Exposed, Workload

RANGE = range(30000, 32768)
KUBECTL = "kubectl --kubeconfig /etc/kubernetes/admin.conf"


@dataclass(frozen=True)
class Applied:
    """The walk's Service, applied as ClusterIP and again as NodePort by kubectl on the master."""

    service: Exposed
    first: str
    second: str
    cluster_ip_before: str


def kubectl_apply(node: Node, manifest: dict[str, object]) -> str:
    """What `kubectl apply` prints."""
    return node.run(
        f"printf %s {shlex.quote(json.dumps(manifest))} | {KUBECTL} apply -f -", timeout=60
    ).strip()


@pytest.fixture(scope="module")
def applied(nodes: tuple[Node, ...], workload: Workload, rulebook: Rulebook) -> Applied:
    """One for this file: its tests only read it."""
    service = Exposed(workload, f"walk-{secrets.token_hex(3)}")
    first = kubectl_apply(nodes[0], service.manifest())
    before = service.cluster_ip
    second = kubectl_apply(nodes[0], service.manifest(kind="NodePort"))
    workload.settle(REPLICAS, service=service.name)
    rulebook.settle()
    return Applied(service, first, second, before)


@pytest.fixture
def free_port(cluster: Cluster) -> int:
    """30000 where no Service has it, else the next free one."""
    taken = {port.node_port for port in cluster.ports()}
    return next(number for number in RANGE if number not in taken)


def urls(nodes: tuple[Node, ...], port: int | None) -> list[str]:
    """The Service on every node's address."""
    assert port is not None, "the Service has no NodePort"
    return [f"http://{node.address}:{port}" for node in nodes]


def from_everywhere(
    nodes: tuple[Node, ...], outside: FromOutside, targets: list[str], *, count: int = 3
) -> Iterator[Outcome]:
    """Probe all targets from every node at once, then from outside."""
    for outcomes in on_each(nodes, lambda node: FromNode(node).probe(*targets, count=count)).values():
        yield from outcomes
    yield from outside.probe(*targets, count=count)


def test_reapplied_as_nodeport_is_configured_and_keeps_its_cluster_ip(applied: Applied) -> None:
    assert applied.first == f"service/{applied.service.name} created"
    assert applied.second == f"service/{applied.service.name} configured"
    assert applied.service.cluster_ip == applied.cluster_ip_before
    assert applied.service.node_port in RANGE


def test_answers_on_every_node(client: Client, applied: Applied, nodes: tuple[Node, ...]) -> None:
    pods = set(applied.service.workload.pods())
    for outcome in client.probe(*urls(nodes, applied.service.node_port), count=15):
        outcome.assert_all_answered(by=pods)


def test_still_answers_on_its_cluster_ip(node: Node, applied: Applied) -> None:
    (outcome,) = FromNode(node).probe(applied.service.url)
    outcome.assert_all_answered(by=set(applied.service.workload.pods()))


def test_loopback_is_as_declared(node: Node, applied: Applied, mode: str, version: str) -> None:
    entry = declared("nodeport-on-loopback", mode=mode, version=version)
    (outcome,) = FromNode(node).probe(f"http://127.0.0.1:{applied.service.node_port}")
    if entry.expected == "answers":
        outcome.assert_all_answered(by=set(applied.service.workload.pods()))
    else:
        outcome.assert_none_answered(kind=entry.expected)


def test_fixed_port_answers_on_every_node(
    mytest: Exposed, free_port: int, nodes: tuple[Node, ...], outside: FromOutside, rulebook: Rulebook
) -> None:
    before = mytest.cluster_ip
    mytest.expose(kind="NodePort", node_port=free_port)
    assert (mytest.cluster_ip, mytest.node_port) == (before, free_port)
    rulebook.settle()
    for outcome in from_everywhere(nodes, outside, urls(nodes, free_port)):
        outcome.assert_all_answered(by=set(mytest.workload.pods()))


def test_back_to_clusterip_closes_it_on_every_node(
    mytest: Exposed,
    nodes: tuple[Node, ...],
    outside: FromOutside,
    rulebook: Rulebook,
    mode: str,
    version: str,
) -> None:
    mytest.expose(kind="NodePort")
    before, targets = mytest.cluster_ip, urls(nodes, mytest.node_port)
    rulebook.settle()
    for outcome in from_everywhere(nodes, outside, targets, count=1):
        outcome.assert_all_answered()
    mytest.expose(kind="ClusterIP")
    assert (mytest.cluster_ip, mytest.node_port) == (before, None)
    rulebook.settle()
    entry = declared("nodeport-closed", mode=mode, version=version)
    for outcome in from_everywhere(nodes, outside, targets, count=1):
        outcome.assert_none_answered(kind=entry.expected)


@pytest.mark.parametrize("port", [RANGE.start - 1, RANGE.stop])
def test_port_out_of_range_is_refused(mytest: Exposed, port: int) -> None:
    with pytest.raises(ApiError, match=r"not in the valid range.*30000-32767"):
        mytest.expose(kind="NodePort", node_port=port)


def test_taken_port_is_refused(applied: Applied, mytest: Exposed) -> None:
    with pytest.raises(ApiError, match="provided port is already allocated"):
        mytest.expose(kind="NodePort", node_port=applied.service.node_port)


def test_deleted_service_gives_its_port_back(
    cluster: Cluster, workload: Workload, mytest: Exposed, free_port: int
) -> None:
    first = Exposed(workload, f"{mytest.name}-first").expose(kind="NodePort", node_port=free_port)
    cluster.remove(Service, first.name, namespace=first.namespace)
    mytest.expose(kind="NodePort", node_port=free_port)
    assert mytest.node_port == free_port
