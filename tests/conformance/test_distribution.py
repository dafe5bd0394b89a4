"""Even distribution: first the rules, exactly; then traffic, per node and path, judged as each mode chooses.

The number of connections is fixed before (`--n`), nothing is tried again, and a connection without answer is
a failure. iptables and nftables choose at random: chi-square, alpha 1e-6 for the whole file; ipvs rr takes
turns: exact, by its own count. The Service is this file's own, so nobody else's connections move a turn.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from fractions import Fraction

import pytest

from lab import proxy, spread

from .cluster import Endpoint
from .declared import declared
from .expectation import Unmet
from .nodes import Node
from .probing import FromNode, FromOutside, FromPod, Outcome
from .rulebook import Rulebook, read
from .subject import Subject
from .turns import Counters, assert_answered_by_turn, syns_resent
from .workload import REPLICAS, TARGET_PORT, Exposed, Workload

CLUSTER_IP, NODE_PORT, FROM_OUTSIDE = "ClusterIP", "NodePort", "NodePort from outside"
PATHS = (CLUSTER_IP, NODE_PORT, FROM_OUTSIDE)
TURNS = ("rr", "wrr")
"""ipvs schedulers that take turns where all weights are equal."""

pytestmark = pytest.mark.timeout(600)


@dataclass(frozen=True)
class Sample:
    """One client's connections to one address, and what ipvs counted on the node that chose."""

    outcome: Outcome
    counted: Mapping[Endpoint, int] | None
    resent: int = 0
    """SYNs that the client's kernel sent once more meanwhile, whoever's they were."""


@pytest.fixture(scope="module")
def service(workload: Workload, rulebook: Rulebook) -> Exposed:
    """A quiet NodePort Service with three backends that every node has programmed."""
    found = Exposed(workload, "mytest").expose(kind="NodePort")
    workload.settle(REPLICAS, service=found.name)
    rulebook.settle()
    return found


@pytest.fixture(scope="module")
def shares(service: Exposed, nodes: tuple[Node, ...], mode: str) -> dict[str, dict[str, proxy.ServiceRules]]:
    """What each node has programmed for the Service: node to path to rules."""
    cluster_ip, port = service.cluster_ip, service.node_port
    assert port is not None
    rules = read(nodes, mode)
    return {
        node.name: {
            CLUSTER_IP: rules[node.name].services[proxy.Frontend(cluster_ip, 80, "TCP")],
            NODE_PORT: rules[node.name].services[proxy.Frontend(node.address, port, "TCP")],
        }
        for node in nodes
    }


def faults(rules: proxy.ServiceRules, backends: set[Endpoint]) -> list[str]:
    """Why these rules do not spread evenly over these backends."""
    wanted = {backend: Fraction(1, len(backends)) for backend in backends}
    seen = {backend.endpoint: backend.weight for backend in rules.backends}
    found = [] if seen == wanted else [f"shares {seen}, wanted {wanted}: {rules.raw}"]
    return found + ([f"affinity of {rules.affinity} s"] if rules.affinity else [])


@pytest.mark.behaviour("rules-share-evenly")
@pytest.mark.parametrize("path", [CLUSTER_IP, NODE_PORT])
def test_rules_share_evenly(
    node: Node, path: str, shares: dict[str, dict[str, proxy.ServiceRules]], service: Exposed
) -> None:
    backends = service.cluster.endpoints(service.namespace, service.name)
    assert len(backends) == REPLICAS
    assert not faults(shares[node.name][path], backends), node.name


@pytest.fixture(scope="module")
def samples(
    request: pytest.FixtureRequest,
    service: Exposed,
    shares: dict[str, dict[str, proxy.ServiceRules]],
    nodes: tuple[Node, ...],
    outsiders: tuple[FromOutside, ...],
    asking_pod: FromPod,
    mode: str,
) -> dict[tuple[str, str], Future[Sample]]:
    """All samples of this file: (client, path) to connections. Rules first: no traffic if they are uneven."""
    before = service.cluster.endpoints(service.namespace, service.name)
    uneven = [
        f"{name} {path}: {fault}"
        for name, paths in shares.items()
        for path, rules in paths.items()
        for fault in faults(rules, before)
    ]
    assert not uneven, f"no traffic was sent, the rules are not even: {uneven}"
    count: int = request.config.getoption("--n")
    url, port = service.url, service.node_port
    found: dict[tuple[str, str], Future[Sample]] = {}

    counters = {node.name: Counters(node) for node in nodes} if mode == "ipvs" else {}

    def work(client: FromNode | FromOutside | FromPod, target: str, chooser: Node) -> Callable[[], Sample]:
        return lambda: sample(client, target, counters.get(chooser.name), count=count)

    # Clients work at the same time only where they cannot disturb each other's turns: on virtual servers of
    # different nodes.
    rounds = [
        {(node.name, CLUSTER_IP): work(FromNode(node), url, node) for node in nodes},
        {
            (node.name, NODE_PORT): work(FromNode(node), f"http://{node.address}:{port}", node)
            for node in nodes
        },
    ]
    home = service.cluster.pods_on(asking_pod.namespace, {"run": asking_pod.pod})[asking_pod.pod]
    rounds.append(
        {("pod", CLUSTER_IP): work(asking_pod, url, next(node for node in nodes if node.name == home))}
    )
    rounds += [
        {(node.name, FROM_OUTSIDE): work(outside, f"http://{node.address}:{port}", node)}
        for outside in outsiders
        for node in nodes
    ]
    with ThreadPoolExecutor(max_workers=len(nodes)) as pool:
        for jobs in rounds:
            running = {key: pool.submit(job) for key, job in jobs.items()}
            for future in running.values():
                future.exception()
            found |= running
    after = service.cluster.endpoints(service.namespace, service.name)
    assert before == after, f"the endpoints changed meanwhile: nothing was measured: {before} → {after}"
    return found


def sample(
    client: FromNode | FromOutside | FromPod, target: str, counters: Counters | None, *, count: int
) -> Sample:
    """Send the connections, and in ipvs mode have the choosing node's own count of them."""
    before = syns_resent(client) if counters else 0
    (outcome,) = client.probe(target, count=count)
    if counters is None:
        return Sample(outcome, None)
    resent = syns_resent(client) - before
    return Sample(outcome, counters.gained(target.removeprefix("http://"), count, resent=resent), resent)


def assert_even(
    taken: Sample,
    *,
    path: str,
    service: Exposed,
    mode: str,
    version: str,
    tests: int,
    record: Callable[[str, object], None],
) -> None:
    """The verdict on one sample; its counts are recorded for the report."""
    outcome, pods = taken.outcome, service.workload.pods()
    failures = sum(outcome.failures.values())
    random = declared("choice", mode=mode, version=version).expected == "random"
    if random:
        verdict = spread.multinomial(outcome.answers, expected=set(pods), failures=failures, tests=tests)
    else:
        turns = {pod: (taken.counted or {}).get((ip, TARGET_PORT), 0) for pod, ip in pods.items()}
        verdict = spread.round_robin(turns, expected=set(pods), failures=failures)
    told = {"client": outcome.client, "path": path, "target": outcome.target, **verdict.told()}
    record("distribution", json.dumps(told))
    if not random:
        assert_answered_by_turn(outcome, turns, resent=taken.resent)
    if not verdict.even:
        way = f"{outcome.client} → {outcome.target}"
        expected = f"{way}: {outcome.count} connections spread evenly by {verdict.method}"
        raise Unmet(expected=expected, seen=str(verdict), asked=outcome.asked)


@pytest.fixture
def oracle(subject: Subject, mode: str) -> None:
    """Skips what has no oracle of evenness."""
    others = {machine.settings.scheduler for machine in subject.machines} - set(TURNS)
    if mode == "ipvs" and others:
        pytest.skip(f"the ipvs scheduler {others.pop()} does not take turns: its spread need not be even")


@pytest.mark.behaviour("even-distribution")
@pytest.mark.usefixtures("oracle")
@pytest.mark.parametrize("path", PATHS)
def test_traffic_is_even(
    node: Node,
    path: str,
    samples: dict[tuple[str, str], Future[Sample]],
    service: Exposed,
    subject: Subject,
    mode: str,
    version: str,
    record_property: Callable[[str, object], None],
) -> None:
    if path == FROM_OUTSIDE and subject.not_outside:
        pytest.skip(subject.not_outside)
    taken = samples[node.name, path].result()
    assert_even(
        taken,
        path=path,
        service=service,
        mode=mode,
        version=version,
        tests=len(samples),
        record=record_property,
    )


@pytest.mark.behaviour("even-distribution")
@pytest.mark.usefixtures("oracle")
def test_traffic_of_a_pod_is_even(
    samples: dict[tuple[str, str], Future[Sample]],
    service: Exposed,
    mode: str,
    version: str,
    record_property: Callable[[str, object], None],
) -> None:
    taken = samples["pod", CLUSTER_IP].result()
    assert_even(
        taken,
        path=CLUSTER_IP,
        service=service,
        mode=mode,
        version=version,
        tests=len(samples),
        record=record_property,
    )
