"""What else a mode means for those who use Services: measured from every place, and declared for each mode.

Whose address a pod sees, what the nodes hold as addresses of their own, how a backend is chosen and how long
a client stays with it. `lab migrate-check` compares these facts, and the truth table's, of two modes.

Everything is measured at once, each client on Services that no other uses where one could disturb the other.
Each node has one more address of its own (198.18.0.0/15 is nobody's) for as long as this file runs.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest
from lightkube.resources.core_v1 import Service

from lab.proxy.addresses import IPVS_DEVICE, interface_addresses

from .cluster import NOBODY, Cluster, Port
from .declared import ASKED_NODES, CLIENTS_OWN, NODES_OWN, RECORDED, declared
from .expectation import Unmet
from .facts import Fact, pinged, table
from .nodes import Node, on_each
from .probing import Client, FromNode, FromOutside, FromPod
from .rulebook import Rulebook
from .subject import Lab
from .test_distribution import TURNS
from .truth import told
from .waiting import wait_until
from .workload import POD_START, REPLICAS, Workload, service_manifest

pytestmark = [pytest.mark.facts, pytest.mark.behaviour("differences-declared"), pytest.mark.timeout(300)]

ROUNDS = 10
"""Of as many connections as there are backends: by chance they all look like turns once in 3 million."""
AFFINITY = 10
"""Seconds that a client's affinity lasts."""
CLIENTS = 13
"""By chance, all choose the backend that they had once in 1.6 million times. No multiple of `REPLICAS`: a
scheduler that takes turns would begin where it began before."""
CHOICES = {"random": "at random", "scheduler": "in turns"}


@dataclass(frozen=True)
class Scene:
    """What there is to measure on."""

    plain: Port
    """A NodePort Service with an externalIP."""
    turns: Port
    """For connections that are counted: nobody else's."""
    sticky: Port
    """With session affinity."""
    pinned: Port
    """A NodePort, externalTrafficPolicy Local, with one pod, on `home`."""
    inner: Port
    """A ClusterIP, internalTrafficPolicy Local, of the same pod."""
    home: str
    external: str
    guarded: str
    """A load balancer IP that nobody may ask."""
    pods: frozenset[str]
    seconds: Mapping[str, str]
    """Node to its other address."""
    clients: tuple[str, ...]
    """Addresses that a node may take to be as many clients."""
    owners: Mapping[str, frozenset[str]]
    """Node to its addresses, without those that ipvs holds."""
    nodes: Mapping[str, str]


@pytest.fixture(scope="module")
def block() -> str:
    """The first three bytes of a /24 of this run's own, out of those that RFC 2544 keeps for measuring."""
    return f"198.{18 + secrets.randbelow(2)}.{secrets.randbelow(256)}"


@pytest.fixture(scope="module")
def seconds(nodes: tuple[Node, ...], block: str) -> Iterator[dict[str, str]]:
    """One more address on each node, until the end."""
    found = {node.name: f"{block}.{10 + place}" for place, node in enumerate(nodes)}
    try:
        on_each(nodes, lambda node: node.run(f"ip address add {found[node.name]}/32 dev lo"))
        yield found
    finally:
        # Those of clients too, of a measurement that was cut off.
        on_each(nodes, lambda node: node.run(f"ip -4 address flush dev lo to {block}.0/24"))


def pinned_pod(cluster: Cluster, namespace: str, name: str, node: str) -> dict[str, Any]:
    """A pod of mytest's on a certain node."""
    original = cluster.deployment("default", "mytest").spec
    assert original is not None
    template = original.template.to_dict()["spec"]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": {"run": name}},
        "spec": {**template, "nodeName": node, "terminationGracePeriodSeconds": 0},
    }


def manifests(workload: Workload, pinned: str, external: str) -> dict[str, dict[str, Any]]:
    """The Services by name."""
    there = workload.namespace

    def service(name: str, spec: Mapping[str, Any], run: str = workload.name) -> dict[str, Any]:
        manifest = service_manifest(there, name, {"run": run})
        return {**manifest, "spec": {**manifest["spec"], **spec}}

    timeout = {"clientIP": {"timeoutSeconds": AFFINITY}}
    specs: dict[str, dict[str, Any]] = {
        "plain": {"type": "NodePort", "externalIPs": [external]},
        "turns": {},
        "sticky": {"sessionAffinity": "ClientIP", "sessionAffinityConfig": timeout},
        "pinned": {"type": "NodePort", "externalTrafficPolicy": "Local"},
        "inner": {"internalTrafficPolicy": "Local"},
        "guarded": {
            "type": "LoadBalancer",
            "loadBalancerClass": NOBODY,
            "loadBalancerSourceRanges": ["203.0.113.0/24"],
        },
    }
    return {
        name: service(name, spec, pinned if name in ("pinned", "inner") else workload.name)
        for name, spec in specs.items()
    }


@pytest.fixture(scope="module")
def scene(
    workload: Workload,
    cluster: Cluster,
    nodes: tuple[Node, ...],
    rulebook: Rulebook,
    seconds: dict[str, str],
    block: str,
) -> Iterator[Scene]:
    """Everything programmed on every node; afterwards nothing of it."""
    namespace, home, pinned = workload.namespace, nodes[-1].name, f"pinned-{secrets.token_hex(3)}"
    external, guarded = f"{block}.1", f"{block}.2"
    cluster.apply(pinned_pod(cluster, namespace, pinned, home))
    services = manifests(workload, pinned, external)
    for manifest in services.values():
        cluster.apply(manifest)
    # As a load balancer's controller would say it; that of this class is nobody.
    address = {"status": {"loadBalancer": {"ingress": [{"ip": guarded, "ipMode": "VIP"}]}}}
    cluster.api.patch(Service.Status, "guarded", address, namespace=namespace)
    workload.settle(REPLICAS, service="plain")
    wait_until(
        f"{namespace}/{pinned} to be its Service's endpoint",
        lambda: cluster.endpoints(namespace, "pinned"),
        timeout=POD_START,
        evidence=lambda: cluster.story(namespace, pinned),
    )
    rulebook.settle()
    ports = {port.service: port for port in cluster.ports(namespace)}
    held = on_each(nodes, lambda node: interface_addresses(node.run("ip -j address show")))
    yield Scene(
        **{name: ports[name] for name in ("plain", "turns", "sticky", "pinned", "inner")},
        home=home,
        external=external,
        guarded=guarded,
        pods=frozenset(workload.pods()),
        seconds=seconds,
        clients=tuple(f"{block}.{100 + number}" for number in range(CLIENTS)),
        owners={
            name: frozenset(ip for link, ips in links.items() if link != IPVS_DEVICE for ip in ips)
            for name, links in held.items()
        },
        nodes={node.name: node.address for node in nodes},
    )
    for name in services:
        cluster.remove(Service, name, namespace=namespace)
    on_each(nodes, lambda node: node.run(f"ip -4 address flush dev lo to {block}.0/24"))
    rulebook.settle()


@dataclass(frozen=True)
class Asker:
    """A client, its name, and what it has for an address of its own: a node has those of `node`."""

    client: Client
    name: str
    node: str
    """Where it is; empty outside."""
    own: frozenset[str]


def holders(scene: Scene, asker: Asker, ip: str) -> str:
    """The devices that hold an address, `no` where none does."""
    del scene
    links = interface_addresses(asker.client.run("ip -j address show", timeout=30))
    return ", ".join(link for link, ips in links.items() if ip in ips) or "no"


def ping(scene: Scene, asker: Asker) -> str:
    """What a ClusterIP makes of a ping."""
    return pinged(asker.client.run(f"ping -n -c 2 -W 2 {scene.plain.cluster_ip} || true", timeout=30))


def answered(asker: Asker, *urls: str) -> str:
    """What became of connections to these, in the words of the truth table."""
    return "; ".join(sorted({told(one.answered, one.failures) for one in asker.client.probe(*urls, count=2)}))


def sources(scene: Scene, asker: Asker, url: str, *, asked: str = "") -> str:
    """Whose address the pods see, of several connections; `asked` is the node that the URL is of."""
    script = f"for i in 1 2 3 4 5 6; do curl -sS -m 5 {url}/clientip 2>/dev/null || echo 'no answer'; done"
    seen = {line.rpartition(":")[0] or line for line in asker.client.run(script, timeout=60).splitlines()}

    def whose(ip: str) -> str:
        if ip in asker.own:
            return CLIENTS_OWN
        owner = next((name for name, ips in scene.owners.items() if ip in ips), "")
        if owner and owner == asked:
            return ASKED_NODES
        if owner and owner == asker.node:
            return NODES_OWN
        return f"that of {owner}" if owner else ip

    return "; ".join(sorted({whose(ip) for ip in seen}))


def cluster_ip(port: Port) -> str:
    """The URL of a ClusterIP."""
    return f"http://{port.cluster_ip}:{port.number}"


def node_ports(scene: Scene, port: Port, *, home: bool) -> dict[str, str]:
    """Node to the URL of a NodePort there: on the pinned pod's node, or on all others."""
    urls = {name: f"http://{address}:{port.node_port}" for name, address in scene.nodes.items()}
    return {name: url for name, url in urls.items() if (name == scene.home) is home}


def from_outside(scene: Scene, asker: Asker) -> str:
    """Whose address the pods see where any node passes the connection on."""
    every = node_ports(scene, scene.plain, home=True) | node_ports(scene, scene.plain, home=False)
    return "; ".join(sorted({sources(scene, asker, url, asked=name) for name, url in every.items()}))


def from_outside_kept(scene: Scene, asker: Asker) -> str:
    """The same where only the pod's own node does."""
    ((name, url),) = node_ports(scene, scene.pinned, home=True).items()
    return sources(scene, asker, url, asked=name)


def choice(scene: Scene, asker: Asker) -> str:
    """How new connections are given to the backends."""
    outcomes = asker.client.probe(*[cluster_ip(scene.turns)] * ROUNDS, count=REPLICAS)
    for outcome in outcomes:
        outcome.assert_all_answered(by=set(scene.pods))
    return CHOICES["scheduler" if all(len(one.answers) == REPLICAS for one in outcomes) else "random"]


def affinity(scene: Scene, asker: Asker) -> str:
    """Whether clients that come back after the timeout find the backend that they had."""
    names, url = " ".join(scene.clients), cluster_ip(scene.sticky)
    script = f"""
gone() {{ for ip in {names}; do ip address del $ip/32 dev lo 2>/dev/null; done; true; }}
trap gone EXIT
trap 'exit 1' INT TERM
for ip in {names}; do ip address add $ip/32 dev lo || exit 1; done
ask() {{ curl -sS -m 9 --interface $1 {url} | sed 's/.*Running on: \\([^ ]*\\).*/\\1/'; }}
for ip in {names}; do echo $(ask $ip) $(ask $ip); done
sleep {AFFINITY + 3}
for ip in {names}; do ask $ip; done"""
    lines = asker.client.run(script, timeout=180).splitlines()
    assert len(lines) == 2 * CLIENTS, f"not an answer for each client: {lines}"
    pairs, later = [line.split() for line in lines[:CLIENTS]], lines[CLIENTS:]
    assert {pod for pair in pairs for pod in pair} | set(later) <= scene.pods, f"other answers: {lines}"
    if any(first != second for first, second in pairs):
        return "no affinity at all"
    return "kept" if [first for first, _ in pairs] == later else "chosen anew"


MEASURES: Mapping[str, Callable[[Scene, Asker], str]] = {
    "clusterip-on-node": lambda scene, asker: holders(scene, asker, scene.plain.cluster_ip),
    "external-ip-on-node": lambda scene, asker: holders(scene, asker, scene.external),
    "clusterip-ping": ping,
    "client-address-of-node": lambda scene, asker: sources(scene, asker, cluster_ip(scene.plain)),
    "client-address-of-pod": lambda scene, asker: sources(scene, asker, cluster_ip(scene.plain)),
    "client-address-cluster": from_outside,
    "client-address-local": from_outside_kept,
    "nodeport-second-address": lambda scene, asker: answered(
        asker, f"http://{scene.seconds[asker.node]}:{scene.plain.node_port}"
    ),
    "external-local-no-local-pod": lambda scene, asker: answered(
        asker, *node_ports(scene, scene.pinned, home=False).values()
    ),
    "internal-local-no-local-pod": lambda scene, asker: answered(asker, cluster_ip(scene.inner)),
    "source-ranges-blocked": lambda scene, asker: answered(asker, f"http://{scene.guarded}:80"),
    "choice": choice,
    "session-affinity-timeout": affinity,
}


@pytest.fixture(scope="module")
def measured(
    scene: Scene,
    node_clients: Mapping[str, FromNode],
    outside: FromOutside,
    cluster: Cluster,
    asking_pod: FromPod,
) -> dict[tuple[str, str], Future[str]]:
    """Client and behaviour to what was seen: all at once, but for what a client's one prober does in turn."""
    namespace, pod = asking_pod.namespace, asking_pod.pod
    labels = {"run": pod}
    here = interface_addresses(outside.run("ip -j address show", timeout=30)).values()
    askers = [
        *(Asker(client, name, name, frozenset()) for name, client in node_clients.items()),
        Asker(
            asking_pod,
            "pod",
            cluster.pods_on(namespace, labels)[pod],
            frozenset(cluster.pods(namespace, labels).values()),
        ),
        Asker(outside, "outside", "", frozenset(ip for ips in here for ip in ips)),
    ]
    wanted = [
        (asker, fact.kind.behaviour)
        for asker in askers
        for fact in table(scene.nodes)
        if fact.client == asker.name
    ]
    with ThreadPoolExecutor(max_workers=len(wanted)) as pool:
        # A failure is told by the test that it is about.
        return {
            (asker.name, behaviour): pool.submit(MEASURES[behaviour], scene, asker)
            for asker, behaviour in wanted
        }


def test_is_as_declared(
    fact: Fact,
    measured: Mapping[tuple[str, str], Future[str]],
    mode: str,
    version: str,
    lab: Lab,
    record_property: Callable[[str, object], None],
) -> None:
    entry = declared(fact.kind.behaviour, mode=mode, version=version)
    if entry.expected == "scheduler" and lab.config.proxy.ipvs_scheduler not in TURNS:
        pytest.skip(f"the ipvs scheduler {lab.config.proxy.ipvs_scheduler} does not take turns")
    expected = CHOICES.get(entry.expected, entry.expected)
    told_of = {
        "target": fact.kind.name,
        "declared": entry.behaviour,
        "source": entry.source,
        "expected": expected,
    }
    for name, value in told_of.items():
        record_property(name, value)
    seen = measured[fact.client, fact.kind.behaviour].result()
    record_property("seen", seen)
    if expected not in (RECORDED, seen):
        raise Unmet(expected=f"{fact.client} → {fact.kind.name}: {expected}", seen=seen)
