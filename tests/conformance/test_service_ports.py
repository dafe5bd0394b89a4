"""Ports of Services: several of them, of two protocols, by name, added and taken away."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from .declared import declared
from .nodes import Node
from .places import Places
from .probing import FromNode, FromOutside, FromPod
from .stage import Stage
from .workload import TARGET_PORT

OTHER_PORT = TARGET_PORT + 1
MANY = 24
"""Requests after which each of two pods has answered: that chance leaves one out is less than 1 in 2²³."""


@dataclass(frozen=True)
class Scene:
    """A pod whose port `web` is 8080, one whose `web` is 8081, one with `admin`; and who connects."""

    stage: Stage
    web: str
    moved: str
    admin: str
    inside: Places
    everywhere: Places
    nodes: tuple[Node, ...]

    def node_urls(self, number: int, *, scheme: str = "http://") -> list[str]:
        """A node port on every node."""
        return [f"{scheme}{node.address}:{number}" for node in self.nodes]


@pytest.fixture(scope="module")
def scene(
    stage: Stage,
    nodes: tuple[Node, ...],
    node_clients: Mapping[str, FromNode],
    outside: FromOutside,
    asking_pod: FromPod,
) -> Scene:
    """One for this file: every test has a Service of its own in front of the same pods."""
    web = stage.pod({"app": "named", "is": "web"}, port_name="web", client=True)
    moved = stage.pod({"app": "named", "is": "moved"}, port=OTHER_PORT, port_name="web")
    admin = stage.pod({"app": "named", "is": "admin"}, port=OTHER_PORT, port_name="admin")
    stage.wait(web, moved, admin)
    # From one of the backends as well: a pod may be its own Service's client.
    inside = Places((*node_clients.values(), asking_pod, stage.client(web)))
    return Scene(stage, web, moved, admin, inside, inside.and_from(outside), nodes)


def numbered(
    name: str, number: int, target: int | str = TARGET_PORT, protocol: str = "TCP", **more: int
) -> dict[str, Any]:
    """One port of a manifest."""
    return {"name": name, "port": number, "targetPort": target, "protocol": protocol, **more}


@pytest.fixture
def unserved(mode: str, version: str) -> str | None:
    """How a ClusterIP fails on a port that its Service does not have; None: in any way."""
    expected = declared("clusterip-wrong-port", mode=mode, version=version).expected
    return "refused" if expected == "refused" else None


@pytest.mark.behaviour("multiport-endpoints")
def test_each_port_leads_to_the_pods_that_have_it(scene: Scene) -> None:
    """A pod is an endpoint of a port only if it has a container port of that name."""
    ports = [numbered("web", 80, "web"), numbered("admin", 81, "admin")]
    service = scene.stage.service({"app": "named"}, ports=ports)
    scene.stage.settle(service, [scene.web, scene.moved], port="web")
    assert service.endpoints("admin") == {(scene.stage.ip(scene.admin), OTHER_PORT)}
    ip = service.cluster_ip
    scene.inside.reach(f"http://{ip}:80", by={scene.web, scene.moved})
    scene.inside.reach(f"http://{ip}:81", by={scene.admin})


@pytest.mark.behaviour("named-target-ports")
def test_named_target_port_is_each_pods_own(scene: Scene) -> None:
    stage = scene.stage
    service = stage.service({"app": "named"}, ports=[numbered("web", 80, "web")], type="NodePort")
    stage.settle(service, [scene.web, scene.moved], port="web")
    wanted = {(stage.ip(scene.web), TARGET_PORT), (stage.ip(scene.moved), OTHER_PORT)}
    assert service.endpoints("web") == wanted
    both = {scene.web, scene.moved}
    for outcome in scene.inside.reach(service.url, by=both, count=MANY):
        assert set(outcome.answers) == both, str(outcome)
    scene.everywhere.reach(*scene.node_urls(service.node_port), by=both)
    # As upstream's pod that is replaced by one whose port of that name has another number.
    service.patch(selector={"app": "named", "is": "moved"})
    stage.settle(service, [scene.moved], port="web")
    scene.inside.reach(service.url, by={scene.moved})
    scene.everywhere.reach(*scene.node_urls(service.node_port), by={scene.moved})


@pytest.mark.behaviour("same-port-two-protocols")
def test_one_port_number_for_tcp_and_udp(scene: Scene, unserved: str | None) -> None:
    tcp, udp = numbered("tcp", 80), numbered("udp", 80, protocol="UDP")
    service = scene.stage.service({"is": "web"}, ports=[tcp, udp])
    scene.stage.settle(service, [scene.web], port="tcp")
    place = f"{service.cluster_ip}:80"
    scene.inside.reach(f"http://{place}", by={scene.web})
    scene.inside.reach(place, by={scene.web}, udp=True)
    service.patch(ports=[tcp])
    scene.stage.settle(service, [scene.web], port="tcp")
    scene.inside.reach(f"http://{place}", by={scene.web})
    scene.inside.miss_by_udp(place)
    service.patch(ports=[udp])
    scene.stage.settle(service, [scene.web], port="udp")
    scene.inside.reach(place, by={scene.web}, udp=True)
    scene.inside.miss(f"http://{place}", kind=unserved)


@pytest.mark.behaviour("same-nodeport-two-protocols")
def test_one_node_port_number_for_tcp_and_udp(scene: Scene, mode: str, version: str) -> None:
    """By the API's own choice where a Service begins with both, and where a later one asks for it."""
    service = scene.stage.service(
        {"is": "web"}, ports=[numbered("tcp", 80), numbered("udp", 80, protocol="UDP")], type="NodePort"
    )
    number = service.ports["tcp"].node_port
    assert number
    assert service.ports["udp"].node_port == number
    tcp, udp = (
        numbered(protocol.lower(), 80, protocol=protocol, nodePort=number) for protocol in ("TCP", "UDP")
    )
    for_tcp, for_udp = scene.node_urls(number), scene.node_urls(number, scheme="")
    scene.stage.settle(service, [scene.web], port="udp")
    scene.everywhere.reach(*for_tcp, by={scene.web})
    scene.everywhere.reach(*for_udp, by={scene.web}, udp=True)
    closed = declared("nodeport-closed", mode=mode, version=version).expected
    service.patch(ports=[udp])
    scene.stage.settle(service, [scene.web], port="udp")
    scene.everywhere.reach(*for_udp, by={scene.web}, udp=True)
    scene.everywhere.miss(*for_tcp, kind=closed)
    service.patch(ports=[tcp])
    scene.stage.settle(service, [scene.web], port="tcp")
    scene.everywhere.reach(*for_tcp, by={scene.web})
    scene.everywhere.miss_by_udp(*for_udp)
    service.patch(ports=[tcp, udp])
    scene.stage.settle(service, [scene.web], port="udp")
    scene.everywhere.reach(*for_udp, by={scene.web}, udp=True)


@pytest.mark.behaviour("ports-added-and-deleted")
def test_ports_are_added_and_deleted(scene: Scene, unserved: str | None) -> None:
    first, second = numbered("first", 80), numbered("second", 81, OTHER_PORT)
    service = scene.stage.service({"is": "web"}, ports=[first])
    scene.stage.settle(service, [scene.web], port="first")
    ip = service.cluster_ip
    scene.inside.reach(f"http://{ip}:80", by={scene.web})
    # Nothing listens at the second's target yet: it is there, and the pod itself refuses.
    service.patch(ports=[first, second])
    scene.stage.settle(service, [scene.web], port="second")
    scene.inside.reach(f"http://{ip}:80", by={scene.web})
    scene.inside.miss(f"http://{ip}:81", kind="refused")
    service.patch(ports=[numbered("second", 81)])
    scene.stage.settle(service, [scene.web], port="second")
    assert service.endpoints("second") == {(scene.stage.ip(scene.web), TARGET_PORT)}
    assert not service.endpoints("first")
    scene.inside.reach(f"http://{ip}:81", by={scene.web})
    scene.inside.miss(f"http://{ip}:80", kind=unserved)
    assert service.cluster_ip == ip
