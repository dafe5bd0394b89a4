"""NodePort: a Service becomes reachable on every node's address, and stops being so."""

from __future__ import annotations

import json
import secrets
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from lightkube import ApiError
from lightkube.resources.core_v1 import Service

from .cluster import Cluster
from .declared import declared
from .node_ports import RANGE, draw
from .nodes import Node, on_each
from .probing import Client, FromNode, FromOutside, Outcome
from .rulebook import Rulebook
from .subject import Subject
from .workload import REPLICAS, Exposed, Workload


@dataclass(frozen=True)
class Applied:
    """The walk's Service, applied as ClusterIP and again as NodePort by kubectl."""

    service: Exposed
    first: str
    second: str
    cluster_ip_before: str


def kubectl_apply(cluster: Cluster, manifest: dict[str, object]) -> str:
    """What `kubectl apply` prints."""
    done = subprocess.run(
        [cluster.kubectl, f"--kubeconfig={cluster.kubeconfig}", "apply", "-f", "-"],
        input=json.dumps(manifest),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture(scope="module")
def applied(cluster: Cluster, workload: Workload, rulebook: Rulebook) -> Applied:
    """One for this file: its tests only read it."""
    service = Exposed(workload, f"walk-{secrets.token_hex(3)}")
    first = kubectl_apply(cluster, service.manifest())
    before = service.cluster_ip
    second = kubectl_apply(cluster, service.manifest(kind="NodePort"))
    workload.settle(REPLICAS, service=service.name)
    rulebook.settle()
    return Applied(service, first, second, before)


@pytest.fixture
def free_port(cluster: Cluster) -> int:
    """One that no other test is given meanwhile."""
    return draw(cluster)


def urls(nodes: tuple[Node, ...], port: int | None) -> list[str]:
    """The Service on every node's address."""
    assert port is not None, "the Service has no NodePort"
    return [f"http://{node.address}:{port}" for node in nodes]


def from_everywhere(
    nodes: tuple[Node, ...], outsiders: tuple[FromOutside, ...], targets: list[str], *, count: int = 3
) -> Iterator[Outcome]:
    """Probe all targets from every node at once, then from outside."""
    for outcomes in on_each(nodes, lambda node: FromNode(node).probe(*targets, count=count)).values():
        yield from outcomes
    for outside in outsiders:
        yield from outside.probe(*targets, count=count)


@pytest.mark.behaviour("clusterip-to-nodeport")
def test_reapplied_as_nodeport_is_configured_and_keeps_its_cluster_ip(applied: Applied) -> None:
    assert applied.first == f"service/{applied.service.name} created"
    assert applied.second == f"service/{applied.service.name} configured"
    assert applied.service.cluster_ip == applied.cluster_ip_before
    assert applied.service.node_port in RANGE


@pytest.mark.behaviour("nodeport-answers")
def test_answers_on_every_node(client: Client, applied: Applied, nodes: tuple[Node, ...]) -> None:
    pods = set(applied.service.workload.pods())
    for outcome in client.probe(*urls(nodes, applied.service.node_port), count=15):
        outcome.assert_all_answered(by=pods)


@pytest.mark.behaviour("clusterip-to-nodeport")
def test_still_answers_on_its_cluster_ip(node: Node, applied: Applied) -> None:
    (outcome,) = FromNode(node).probe(applied.service.url)
    outcome.assert_all_answered(by=set(applied.service.workload.pods()))


@pytest.mark.behaviour("nodeport-on-loopback")
def test_loopback_is_as_declared(
    node: Node, applied: Applied, subject: Subject, mode: str, version: str
) -> None:
    if not subject.machine(node.name).settings.localhost_node_ports:
        pytest.skip("kube-proxy is told not to serve NodePorts on localhost")
    entry = declared("nodeport-on-loopback", mode=mode, version=version)
    (outcome,) = FromNode(node).probe(f"http://127.0.0.1:{applied.service.node_port}")
    if entry.expected == "answers":
        outcome.assert_all_answered(by=set(applied.service.workload.pods()))
    else:
        outcome.assert_none_answered(kind=entry.expected)


@pytest.mark.behaviour("nodeport-asked-for")
def test_fixed_port_answers_on_every_node(
    mytest: Exposed,
    free_port: int,
    nodes: tuple[Node, ...],
    outsiders: tuple[FromOutside, ...],
    rulebook: Rulebook,
) -> None:
    before = mytest.cluster_ip
    mytest.expose(kind="NodePort", node_port=free_port)
    assert (mytest.cluster_ip, mytest.node_port) == (before, free_port)
    rulebook.settle()
    for outcome in from_everywhere(nodes, outsiders, urls(nodes, free_port)):
        outcome.assert_all_answered(by=set(mytest.workload.pods()))


@pytest.mark.behaviour("nodeport-to-clusterip")
def test_back_to_clusterip_closes_it_on_every_node(
    mytest: Exposed,
    free_port: int,
    nodes: tuple[Node, ...],
    outsiders: tuple[FromOutside, ...],
    rulebook: Rulebook,
    mode: str,
    version: str,
) -> None:
    mytest.expose(kind="NodePort", node_port=free_port)
    before, targets = mytest.cluster_ip, urls(nodes, mytest.node_port)
    rulebook.settle()
    for outcome in from_everywhere(nodes, outsiders, targets, count=1):
        outcome.assert_all_answered()
    mytest.expose(kind="ClusterIP")
    assert (mytest.cluster_ip, mytest.node_port) == (before, None)
    rulebook.settle()
    entry = declared("nodeport-closed", mode=mode, version=version)
    for outcome in from_everywhere(nodes, outsiders, targets, count=1):
        outcome.assert_none_answered(kind=entry.expected)


@pytest.mark.behaviour("nodeport-out-of-range")
@pytest.mark.parametrize("port", [RANGE.start - 1, RANGE.stop])
def test_port_out_of_range_is_refused(mytest: Exposed, port: int) -> None:
    with pytest.raises(ApiError, match=r"not in the valid range.*30000-32767"):
        mytest.expose(kind="NodePort", node_port=port)


@pytest.mark.behaviour("nodeport-collision")
def test_taken_port_is_refused(applied: Applied, mytest: Exposed) -> None:
    with pytest.raises(ApiError, match="provided port is already allocated"):
        mytest.expose(kind="NodePort", node_port=applied.service.node_port)


@pytest.mark.behaviour("nodeport-released")
def test_deleted_service_gives_its_port_back(
    cluster: Cluster, workload: Workload, mytest: Exposed, free_port: int
) -> None:
    first = Exposed(workload, f"{mytest.name}-first").expose(kind="NodePort", node_port=free_port)
    cluster.remove(Service, first.name, namespace=first.namespace)
    mytest.expose(kind="NodePort", node_port=free_port)
    assert mytest.node_port == free_port
