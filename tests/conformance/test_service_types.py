"""A Service changes its type: its addresses come and go, and the one DNS name leads where the type says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from .declared import declared
from .node_ports import draw
from .nodes import Node
from .places import Places
from .probing import FromNode, FromOutside, FromPod
from .stage import Published, Stage
from .waiting import wait_until
from .workload import TARGET_PORT

DNS_FOLLOWS = 30.0
"""Seconds that CoreDNS gets to say what the API says: it watches Services, and answers of cluster.local
are not cached."""


@dataclass(frozen=True)
class Scene:
    """Two pods with a Service in front of the second, and the places that connect."""

    stage: Stage
    mine: str
    other: str
    external: Published
    pod: FromPod
    inside: Places
    everywhere: Places
    nodes: tuple[Node, ...]

    def service(self, kind: str) -> Published:
        """A Service of that type; as ExternalName it leads to the other pod's Service."""
        more: dict[str, Any] = {"externalName": fqdn(self.external)} if kind == "ExternalName" else {}
        port = {"port": 80, "targetPort": TARGET_PORT}
        if kind == "NodePort":
            port["nodePort"] = draw(self.stage.cluster)
        return self.stage.service({"app": "mine"}, type=kind, ports=[port], **more)

    def node_urls(self, service: Published) -> list[str]:
        """Its NodePort on every node, none where it has none."""
        (port,) = service.ports.values()
        if port.node_port is None:
            return []
        return [f"http://{node.address}:{port.node_port}" for node in self.nodes]

    def looked_up(self, service: Published) -> str:
        """What a pod finds by the Service's name: the names on the way, and the address."""
        return self.pod.run(f"dig +short +timeout=2 +tries=1 {fqdn(service)} A", timeout=15)

    def assert_found(self, service: Published, *lines: str) -> None:
        """Wait until a pod finds exactly this by the Service's name."""
        wanted = "".join(f"{line}\n" for line in lines)

        def found() -> bool:
            said = self.looked_up(service)
            assert said == wanted, said
            return True

        wait_until(f"{fqdn(service)} to lead a pod to {' and '.join(lines)}", found, timeout=DNS_FOLLOWS)

    def assert_leads_elsewhere(self, service: Published) -> None:
        """By its name a pod finds the CNAME, and the other Service's pod answers."""
        self.assert_found(service, f"{fqdn(self.external)}.", self.external.cluster_ip)
        (outcome,) = self.pod.probe(f"http://{fqdn(service)}:80")
        outcome.assert_all_answered(by={self.other})

    def assert_serves(self, service: Published, kind: str) -> None:
        """By its name, its ClusterIP and its NodePort its own pod answers, wherever they are for."""
        self.stage.settle(service, [self.mine])
        self.assert_found(service, service.cluster_ip)
        (outcome,) = self.pod.probe(f"http://{fqdn(service)}:80")
        outcome.assert_all_answered(by={self.mine})
        self.inside.reach(service.url, by={self.mine})
        urls = self.node_urls(service)
        assert bool(urls) == (kind == "NodePort"), f"{kind} with the NodePorts {urls}"
        if urls:
            self.everywhere.reach(*urls, by={self.mine})


def fqdn(service: Published) -> str:
    """The whole DNS name, without the last dot."""
    return f"{service.name}.{service.namespace}.svc.cluster.local"


@pytest.fixture(scope="module")
def scene(
    stage: Stage,
    nodes: tuple[Node, ...],
    node_clients: Mapping[str, FromNode],
    outside: FromOutside,
    asking_pod: FromPod,
) -> Scene:
    """One for this file: every test has a Service of its own in front of the same pods."""
    mine = stage.pod({"app": "mine"}, client=True)
    other = stage.pod({"app": "other"})
    external = stage.service({"app": "other"})
    stage.wait(mine, other)
    # Of the backend itself as well: it is its Service's client like any other.
    inside = Places((*node_clients.values(), asking_pod, stage.client(mine)))
    return Scene(stage, mine, other, external, asking_pod, inside, inside.and_from(outside), nodes)


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param("ClusterIP", marks=pytest.mark.behaviour("clusterip-to-externalname")),
        pytest.param("NodePort", marks=pytest.mark.behaviour("nodeport-to-externalname")),
    ],
)
def test_becomes_an_externalname(scene: Scene, kind: str, mode: str, version: str) -> None:
    service = scene.service(kind)
    scene.assert_serves(service, kind)
    url, node_urls = service.url, scene.node_urls(service)
    service.patch(type="ExternalName", externalName=fqdn(scene.external))
    spec = service.get().spec
    assert spec is not None
    assert (spec.type, spec.clusterIP, spec.clusterIPs) == ("ExternalName", None, None)
    assert not any(port.nodePort for port in spec.ports or ())
    scene.assert_leads_elsewhere(service)
    scene.stage.rulebook.settle()
    scene.inside.miss(url)
    if node_urls:
        entry = declared("nodeport-closed", mode=mode, version=version)
        scene.everywhere.miss(*node_urls, kind=entry.expected)


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param("ClusterIP", marks=pytest.mark.behaviour("externalname-to-clusterip")),
        pytest.param("NodePort", marks=pytest.mark.behaviour("externalname-to-nodeport")),
    ],
)
def test_was_an_externalname(scene: Scene, kind: str) -> None:
    service = scene.service("ExternalName")
    scene.assert_leads_elsewhere(service)
    service.patch(type=kind, externalName=None)
    scene.assert_serves(service, kind)
