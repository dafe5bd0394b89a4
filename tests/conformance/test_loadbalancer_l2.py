"""LoadBalancer: a Service gets an address of the lab's LAN, and one node answers for it there (MetalLB).

Skipped where the lab has no MetalLB (`lab up --addon metallb`).
"""

from __future__ import annotations

import json
import secrets
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from ipaddress import IPv4Address

import pytest
from lightkube.resources.apps_v1 import Deployment
from lightkube.resources.core_v1 import Service

from .cluster import Cluster
from .metallb import ANNOUNCED, GIVEN, address_of, announcer, announcers, balanced, url_of
from .neighbours import hardware_address, own_address, who_has
from .nodes import Node
from .probing import Client, FromNode, FromOutside, FromPod
from .rulebook import Rulebook
from .subject import Lab
from .together import at_once, each
from .waiting import PROGRAMMED, wait_until
from .workload import REPLICAS, Exposed, Workload

NOWHERE = "203.0.113.0/24"
"""Addresses that nobody has: RFC 5737 keeps them for documentation."""
SILENT = 2.0
"""Seconds without an answer to a request that shall have none; its SYN is sent again after one."""


@pytest.fixture(scope="module", autouse=True)
def _metallb(lab: Lab) -> None:
    """Skips this file where nothing gives Services addresses."""
    if lab.config.addons.metallb is None:
        pytest.skip("this lab has no MetalLB; `lab up --addon metallb` gives it one")


@dataclass(frozen=True)
class Balanced:
    """A Service with three ready pods, and the address it got."""

    service: Exposed
    address: str

    @property
    def url(self) -> str:
        """The Service on its address."""
        return url_of(self.address)


@pytest.fixture(scope="module")
def shared(workload: Workload, outside: FromOutside, rulebook: Rulebook) -> Balanced:
    """One for this file: its tests only read it."""
    service = Exposed(workload, f"balanced-{secrets.token_hex(3)}")
    address = balanced(service)
    workload.settle(REPLICAS, service=service.name)
    rulebook.settle()
    reached(outside, address)
    return Balanced(service, address)


@pytest.fixture
def moving(cluster: Cluster, namespace: str, lab: Lab) -> Iterator[Workload]:
    """A workload of one pod that may be sent to another node."""
    if len(lab.config.workers) < 2:
        pytest.skip("the lab has one node for pods: nothing can move")
    name = f"moving-{secrets.token_hex(3)}"
    workload = Workload.copy_of_mytest(cluster, namespace, name)
    workload.set_replicas(1)
    yield workload
    cluster.remove(Deployment, name, namespace=namespace)


def reached(outside: FromOutside, address: str) -> None:
    """Wait until somebody answers for an address, and behind it a pod."""
    wait_until(
        f"{address} to answer on the LAN",
        lambda: outside.probe(url_of(address), count=1, timeout=SILENT)[0].answered,
        timeout=ANNOUNCED,
    )


def got(url: str) -> tuple[int, str]:
    """Status (0: no answer) and body of one request; from outside, where this process is."""
    open_url = urllib.request.build_opener(urllib.request.ProxyHandler({})).open
    try:
        with open_url(url, timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError as error:
        return 0, str(error)


def client_seen(url: str) -> str:
    """The client's address, as the pod that answers sees it."""
    _, body = got(f"{url}/clientip")
    return body.rpartition(":")[0]


def send_to(workload: Workload, node: str) -> None:
    """Have the pods on one node only: not spread, as mytest's are."""
    where = {"nodeSelector": {"kubernetes.io/hostname": node}, "topologySpreadConstraints": None}
    pinned = {"spec": {"template": {"spec": where}}}
    workload.cluster.api.patch(Deployment, workload.name, pinned, namespace=workload.namespace)

    def there() -> bool:
        seen = set(workload.cluster.pods_on(workload.namespace, workload.selector).values())
        assert seen == {node}, f"pods on {sorted(seen)}"
        return True

    wait_until(f"the pods of {workload.name} to be on {node} alone", there, timeout=ANNOUNCED)


@pytest.mark.behaviour("loadbalancer-l2-address")
def test_addresses_are_of_the_pool_and_nobody_elses(shared: Balanced, mytest: Exposed, lab: Lab) -> None:
    assert lab.config.addons.metallb is not None
    pool = lab.config.addons.metallb.pool(lab.config)
    other = balanced(mytest)
    assert pool is not None
    assert IPv4Address(shared.address) in pool
    assert IPv4Address(other) in pool
    assert other != shared.address


@pytest.mark.behaviour("loadbalancer-l2-answers")
def test_answers(client: Client, shared: Balanced) -> None:
    """From outside by way of the LAN, from nodes and pods by their own node's rules."""
    (outcome,) = client.probe(shared.url, count=15)
    outcome.assert_all_answered(by=set(shared.service.workload.pods()))


@pytest.mark.behaviour("loadbalancer-l2-announced-once")
def test_one_node_and_no_other_answers_for_it(
    shared: Balanced, cluster: Cluster, nodes: tuple[Node, ...], outside: FromOutside, lab: Lab
) -> None:
    """In ipvs mode every node has the address on kube-ipvs0, and must keep quiet about it (strictARP)."""
    if lab.config.provider == "ssh":
        pytest.skip("who asks is on the machines' own network only where the lab makes it")
    said = announcer(cluster, shared.service)
    (node,) = [node for node in nodes if node.name == said]
    assert who_has(shared.address, outside) == {hardware_address(node)}


@pytest.mark.behaviour("loadbalancer-l2-source-address")
@pytest.mark.parametrize("policy", ["Cluster", "Local"])
def test_only_policy_local_keeps_the_clients_address(
    mytest: Exposed,
    cluster: Cluster,
    nodes: tuple[Node, ...],
    outside: FromOutside,
    rulebook: Rulebook,
    policy: str,
) -> None:
    address = balanced(mytest, externalTrafficPolicy=policy)
    rulebook.settle()
    hosts = cluster.pods_on(mytest.namespace, mytest.workload.selector)
    at = announcer(cluster, mytest, among=set(hosts.values()) if policy == "Local" else None)
    reached(outside, address)
    seen = {client_seen(url_of(address)) for _ in range(10)}
    if policy == "Local":
        assert seen == {own_address(address)}
        (outcome,) = outside.probe(url_of(address), count=30)
        outcome.assert_all_answered(by={pod for pod, host in hosts.items() if host == at})
    else:
        # The announcing node's: the one on the LAN, or the one on the pods' network where it sends them on.
        (node,) = [node for node in nodes if node.name == at]
        own = set(
            node.run("ip -o -4 addr | while read -r _ _ _ address _; do echo ${address%/*}; done").split()
        )
        assert seen <= own, f"{at} has {sorted(own)}"


@pytest.mark.behaviour("loadbalancer-l2-health-check")
def test_health_check_says_where_pods_are_and_the_address_follows_them(
    moving: Workload,
    cluster: Cluster,
    nodes: tuple[Node, ...],
    outside: FromOutside,
    rulebook: Rulebook,
    lab: Lab,
    mode: str,
) -> None:
    service = Exposed(moving, moving.name)
    first, second = (node.name for node in lab.config.workers[:2])
    send_to(moving, first)
    moving.settle(1)
    address = balanced(service, externalTrafficPolicy="Local")
    for place in (first, second):
        send_to(moving, place)
        moving.settle(1, service=service.name)
        rulebook.settle()
        assert announcer(cluster, service, among={place}) == place
        reached(outside, address)
        (outcome,) = outside.probe(url_of(address), count=10)
        outcome.assert_all_answered(by=set(moving.pods()))
        spec = service.get().spec
        assert spec is not None
        port = spec.healthCheckNodePort
        wanted = {node.name: (200, 1) if node.name == place else (503, 0) for node in nodes}

        def checked(port: int | None = port, wanted: dict[str, tuple[int, int]] = wanted) -> bool:
            seen: dict[str, tuple[int, object]] = {}
            for node in nodes:
                status, body = got(f"http://{node.address}:{port}/healthz")
                seen[node.name] = (status, json.loads(body)["localEndpoints"] if status else body)
            assert seen == wanted, f"{seen}, expected {wanted}"
            return True

        wait_until(f"health checks to say that {place} has the pod", checked, timeout=PROGRAMMED[mode])
    if lab.config.provider != "ssh":
        (node,) = [node for node in nodes if node.name == second]
        assert who_has(address, outside) == {hardware_address(node)}


@pytest.mark.behaviour("loadbalancer-l2-source-ranges")
def test_source_ranges_let_in_and_keep_out(
    mytest: Exposed,
    node_clients: Mapping[str, FromNode],
    outside: FromOutside,
    asking_pod: FromPod,
    rulebook: Rulebook,
) -> None:
    """Nodes too, in every mode: ipvs has a chain for them alone (kubernetes#119656, mended in 1.29)."""
    address = balanced(mytest)
    url = url_of(address)
    rulebook.settle()
    reached(outside, address)
    own = f"{own_address(address)}/32"
    pods = set(mytest.workload.pods())
    inside: Mapping[str, Client] = {**node_clients, "pod": asking_pod}
    for ranges, lets_in in (([own], True), ([NOWHERE], False), ([NOWHERE, own], True)):
        balanced(mytest, loadBalancerSourceRanges=ranges)
        rulebook.settle()
        places = inside if lets_in else {**inside, "outside": outside}
        told = at_once(
            places, lambda client: client.probe(url, count=5 if client is outside else 2, timeout=SILENT)[0]
        )
        each((place, partial(seen.assert_none_answered, kind="timeout")) for place, seen in told.items())
        if lets_in:
            outside.probe(url, count=5)[0].assert_all_answered(by=pods)
    balanced(mytest)  # without any: everybody again
    rulebook.settle()
    outside.probe(url, count=5)[0].assert_all_answered(by=pods)


@pytest.mark.behaviour("loadbalancer-l2-released")
def test_back_to_clusterip_gives_the_address_back(
    mytest: Exposed,
    cluster: Cluster,
    workload: Workload,
    outside: FromOutside,
    rulebook: Rulebook,
    lab: Lab,
) -> None:
    before = mytest.cluster_ip
    address = balanced(mytest)
    rulebook.settle()
    reached(outside, address)
    mytest.expose(kind="ClusterIP")
    wait_until(f"{address} to be taken back", lambda: address_of(mytest) is None, timeout=GIVEN)
    wait_until(f"{address} not to be announced", lambda: not announcers(cluster, mytest), timeout=ANNOUNCED)
    rulebook.settle()
    assert (mytest.cluster_ip, mytest.node_port) == (before, None)
    outside.probe(url_of(address), count=2, timeout=SILENT)[0].assert_none_answered()
    if lab.config.provider != "ssh":
        wait_until(
            f"nobody to answer for {address}", lambda: not who_has(address, outside), timeout=ANNOUNCED
        )
    other = Exposed(workload, f"{mytest.name}-other")
    try:
        assert balanced(other, address=address) == address
        rulebook.settle()
        reached(outside, address)
    finally:
        cluster.remove(Service, other.name, namespace=other.namespace)
