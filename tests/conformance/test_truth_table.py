"""Client by target by mode: who reaches what, and how the rest fails; `lab test --matrix` prints the table.

What is expected is the same in every mode unless `declared.py` says otherwise. A mode that is declared to
give no answer may give any failure: connections leave by the default route, and what they meet there is not
kube-proxy's.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from .asking import full, wait_known
from .cluster import Cluster
from .declared import declared
from .expectation import Unmet
from .nodes import Node
from .probing import Client, FromNode, FromOutside, FromPod, Outcome
from .rulebook import Rulebook
from .subject import Subject
from .truth import ANSWERS, LOOPBACK, Reach, table, told
from .workload import REPLICAS, TARGET_PORT, Exposed, Workload, service_manifest

pytestmark = [pytest.mark.matrix, pytest.mark.behaviour("reached-as-declared")]
NO_SUCH_PORT = 81
COUNT = 2


@dataclass(frozen=True)
class Addresses:
    """Where the targets are."""

    service: Exposed
    pods: Mapping[str, str]
    """Pod to its IP."""
    cluster_ip: str
    node_port: int
    empty_ip: str
    empty_port: int
    free_port: int
    nodes: Mapping[str, str]
    """Node to its address."""

    def of(self, target: str, *, home: str | None) -> list[str]:
        """The URLs of a target, for a client whose node is `home`."""
        own = [self.nodes[home]] if home else []
        others = [address for name, address in self.nodes.items() if name != home]
        name = f"{self.service.name}.{self.service.namespace}.svc.cluster.local"
        found = {
            "pod IP": [f"{ip}:{TARGET_PORT}" for ip in self.pods.values()],
            "ClusterIP": [f"{self.cluster_ip}:80"],
            "ClusterIP by its DNS name": [f"{name}:80"],
            "ClusterIP, port of no Service": [f"{self.cluster_ip}:{NO_SUCH_PORT}"],
            "ClusterIP, no endpoints": [f"{self.empty_ip}:80"],
            "NodePort, the client's own node": [f"{address}:{self.node_port}" for address in own],
            "NodePort, other nodes": [f"{address}:{self.node_port}" for address in others],
            LOOPBACK: [f"127.0.0.1:{self.node_port}"],
            "NodePort, no endpoints": [f"{address}:{self.empty_port}" for address in (*own, *others)],
            "NodePort of no Service": [f"{address}:{self.free_port}" for address in (*own, *others)],
        }
        return [f"http://{place}" for place in found[target]]


@pytest.fixture(scope="module")
def addresses(
    workload: Workload, cluster: Cluster, nodes: tuple[Node, ...], rulebook: Rulebook, asking_pod: FromPod
) -> Addresses:
    """A NodePort Service with three pods, one without any, and a node port that nobody has."""
    service = Exposed(workload, "mytest").expose(kind="NodePort")
    empty = f"empty-{secrets.token_hex(3)}"
    cluster.apply(service_manifest(workload.namespace, empty, {"run": "nobody"}, kind="NodePort"))
    workload.settle(REPLICAS, service=service.name)
    rulebook.settle()
    (full_port,) = cluster.ports_of(workload.namespace, service.name)
    (empty_port,) = cluster.ports_of(workload.namespace, empty)
    assert full_port.node_port
    assert empty_port.node_port
    wait_known(asking_pod, cluster, full(service.name, service.namespace), full_port.cluster_ip)
    taken = {port.node_port for port in cluster.ports()}
    return Addresses(
        service=service,
        pods=workload.pods(),
        cluster_ip=full_port.cluster_ip,
        node_port=full_port.node_port,
        empty_ip=empty_port.cluster_ip,
        empty_port=empty_port.node_port,
        free_port=next(number for number in range(32767, 30000, -1) if number not in taken),
        nodes={node.name: node.address for node in nodes},
    )


@pytest.fixture(scope="module")
def observed(
    addresses: Addresses,
    node_clients: Mapping[str, FromNode],
    outsiders: tuple[FromOutside, ...],
    cluster: Cluster,
    asking_pod: FromPod,
) -> dict[str, Future[dict[str, list[Outcome]]]]:
    """What each client saw of each target. All at once: no target's answer depends on who else asks."""
    home = cluster.pods_on(asking_pod.namespace, {"run": asking_pod.pod})[asking_pod.pod]
    clients: dict[str, tuple[Client, str | None]] = {
        **{name: (client, name) for name, client in node_clients.items()},
        "pod": (asking_pod, home),
        **{outside.name: (outside, None) for outside in outsiders},
    }
    cells = table(addresses.nodes)

    def ask(name: str) -> dict[str, list[Outcome]]:
        client, home = clients[name]
        names = [cell.target.name for cell in cells if cell.client == name]
        places = {target: addresses.of(target, home=home) for target in names}
        # In one round trip, which costs more than a request on some machines.
        told = iter(client.probe(*(url for urls in places.values() for url in urls), count=COUNT))
        return {target: [next(told) for _ in urls] for target, urls in places.items()}

    with ThreadPoolExecutor(max_workers=len(clients)) as pool:
        return {name: pool.submit(ask, name) for name in clients}


def test_reached_as_declared(
    reach: Reach,
    observed: Mapping[str, Future[dict[str, list[Outcome]]]],
    addresses: Addresses,
    subject: Subject,
    mode: str,
    version: str,
    record_property: Callable[[str, object], None],
) -> None:
    if reach.client not in observed:
        pytest.skip(subject.not_outside)
    if reach.target.name == LOOPBACK and not subject.machine(reach.client).settings.localhost_node_ports:
        pytest.skip("kube-proxy is told not to serve NodePorts on localhost")
    outcomes = observed[reach.client].result()[reach.target.name]
    if not outcomes:
        pytest.skip("a cluster of one node has no other")
    expected = reach.target.expected(mode=mode, version=version)
    record_property("target", reach.target.name)
    record_property("expected", expected)
    if reach.target.behaviour:
        record_property("declared", reach.target.behaviour)
        record_property("source", declared(reach.target.behaviour, mode=mode, version=version).source)
    seen = sorted({told(outcome.answered, outcome.failures) for outcome in outcomes})
    record_property("seen", "; ".join(seen))
    wrong = [outcome for outcome in outcomes if not as_expected(outcome, expected)]
    if wrong:
        raise Unmet(
            expected=f"{reach.client} → {reach.target.name}: {expected}",
            seen="\n".join(map(str, wrong)),
            asked=wrong[0].asked,
        )
    if expected == ANSWERS:
        answered = {pod for outcome in outcomes for pod in outcome.answers}
        assert answered <= set(addresses.pods)


def as_expected(outcome: Outcome, expected: str) -> bool:
    """Whether one target's answers are what the table says."""
    if expected == "no answer":
        return not outcome.answers
    return told(outcome.answered, outcome.failures) == expected
