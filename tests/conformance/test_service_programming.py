"""What kube-proxy programs: Services that come, go and come again, and those it is to leave alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from lightkube.resources.discovery_v1 import EndpointSlice
from lightkube.types import PatchType

from lab.proxy.endpoints import HEADLESS_LABEL, PROXY_LABEL, SERVICE_LABEL

from .balancing import free_address
from .declared import declared
from .node_ports import draw
from .nodes import Node
from .places import Places
from .probing import FromNode, FromOutside, FromPod
from .stage import Published, Stage
from .workload import TARGET_PORT


@dataclass(frozen=True)
class Scene:
    """Two pods that answer, one more by itself, and the places that connect."""

    stage: Stage
    one: str
    two: str
    alone: str
    inside: Places
    everywhere: Places
    nodes: tuple[Node, ...]
    closed: str
    """How a node port fails that is nobody's, as far as kube-proxy knows."""

    def node_port_service(
        self, selector: Mapping[str, str], *, number: int | None = None, **more: Any
    ) -> Published:
        """A Service with a node port that nobody else is given when it goes."""
        port = {"port": 80, "targetPort": TARGET_PORT, "nodePort": number or draw(self.stage.cluster)}
        return self.stage.service(selector, type="NodePort", ports=[port], **more)

    def endpoint_slice(self, service: Published, pod: str, *, node: str | None) -> None:
        """An EndpointSlice by hand with one pod, and with the node it runs on if that is to be known."""
        labels = {SERVICE_LABEL: service.name, "endpointslice.kubernetes.io/managed-by": "conformance"}
        end: dict[str, Any] = {"addresses": [self.stage.ip(pod)], "conditions": {"ready": True}}
        if node is not None:
            end["nodeName"] = node
        port = {"name": "", "port": TARGET_PORT, "protocol": "TCP"}
        whole = {"addressType": "IPv4", "endpoints": [end], "ports": [port]}
        self.stage.apply("discovery.k8s.io/v1", "EndpointSlice", service.name, whole, labels=labels)

    def node_urls(self, service: Published) -> list[str]:
        """Its NodePort on every node."""
        return [f"http://{node.address}:{service.node_port}" for node in self.nodes]

    def assert_serves(self, service: Published, by: set[str]) -> None:
        """It answers on its ClusterIP and its NodePort, to whomever they are for."""
        self.inside.reach(service.url, by=by)
        self.everywhere.reach(*self.node_urls(service), by=by)

    def assert_silent(self, url: str, node_urls: list[str]) -> None:
        """Nobody answers on a ClusterIP nor on node ports that are not programmed."""
        self.inside.miss(url)
        self.everywhere.miss(*node_urls, kind=self.closed)


@pytest.fixture(scope="module")
def scene(
    stage: Stage,
    nodes: tuple[Node, ...],
    node_clients: Mapping[str, FromNode],
    outside: FromOutside,
    asking_pod: FromPod,
    mode: str,
    version: str,
) -> Scene:
    """One for this file: every test has Services of its own in front of the same pods."""
    one = stage.pod({"app": "answers", "is": "one"}, client=True)
    two = stage.pod({"app": "answers", "is": "two"})
    alone = stage.pod({"app": "alone"}, client=True)
    stage.wait(one, two, alone)
    # From one of the backends as well: a pod may be its own Service's client.
    inside = Places((*node_clients.values(), asking_pod, stage.client(one)))
    closed = declared("nodeport-closed", mode=mode, version=version).expected
    return Scene(stage, one, two, alone, inside, inside.and_from(outside), nodes, closed)


@pytest.mark.behaviour("services-up-and-down")
def test_services_go_up_and_down_beside_each_other(scene: Scene) -> None:
    first, second = scene.stage.service({"is": "one"}), scene.stage.service({"is": "two"})
    scene.stage.settle(first, [scene.one])
    scene.inside.reach(first.url, by={scene.one})
    scene.inside.reach(second.url, by={scene.two})
    gone = first.url
    first.delete()
    third = scene.stage.service({"is": "one"})
    scene.stage.settle(third, [scene.one])
    scene.inside.reach(second.url, by={scene.two})
    scene.inside.reach(third.url, by={scene.one})
    scene.inside.miss(gone)


@pytest.mark.behaviour("service-recreated")
def test_service_that_is_made_again_works(scene: Scene) -> None:
    """Under its name with addresses of its own, and then at once with the addresses that it had."""
    service = scene.node_port_service({"is": "one"})
    scene.stage.settle(service, [scene.one])
    scene.assert_serves(service, {scene.one})
    was = service.url, scene.node_urls(service)
    service.delete()
    scene.stage.rulebook.settle()
    scene.assert_silent(*was)

    again = scene.node_port_service({"is": "one"}, name=service.name)
    scene.stage.settle(again, [scene.one])
    scene.assert_serves(again, {scene.one})
    number, ip = again.node_port, again.cluster_ip
    again.delete()
    # In front of the other pod now: what is left of the earlier one's rules would show.
    same = scene.node_port_service({"is": "two"}, name=service.name, number=number, clusterIP=ip)
    scene.stage.settle(same, [scene.two])
    scene.assert_serves(same, {scene.two})


@pytest.mark.behaviour("services-with-the-same-selector")
def test_services_of_the_same_pods_do_not_depend_on_each_other(scene: Scene) -> None:
    first, second = (scene.node_port_service({"app": "answers"}) for _ in range(2))
    pods = {scene.one, scene.two}
    scene.stage.settle(first, pods)
    scene.stage.settle(second, pods)
    for service in (first, second):
        scene.assert_serves(service, pods)
    was = first.url, scene.node_urls(first)
    first.delete()
    scene.stage.rulebook.settle()
    scene.assert_serves(second, pods)
    scene.assert_silent(*was)


@pytest.mark.behaviour("external-ip")
def test_external_ip_of_no_node_answers(scene: Scene) -> None:
    address = free_address()
    service = scene.stage.service({"app": "answers"}, externalIPs=[address])
    pods = {scene.one, scene.two}
    scene.stage.settle(service, pods)
    scene.inside.reach(f"http://{address}:80", service.url, by=pods)
    service.patch(externalIPs=None)
    scene.stage.rulebook.settle()
    scene.inside.reach(service.url, by=pods)
    scene.inside.miss(f"http://{address}:80")


@pytest.mark.behaviour("service-proxy-name")
def test_service_of_another_proxy_is_left_alone(scene: Scene) -> None:
    """As long as it has the label, whatever its value: from the start, or for a while."""
    theirs = scene.stage.service({"is": "one"}, type="NodePort", labels={PROXY_LABEL: "another"})
    service = scene.stage.service({"is": "one"}, type="NodePort")
    scene.stage.settle(service, [scene.one])
    scene.assert_serves(service, {scene.one})
    scene.assert_silent(theirs.url, scene.node_urls(theirs))
    service.label(PROXY_LABEL, "another")
    scene.stage.rulebook.settle()
    scene.assert_silent(service.url, scene.node_urls(service))
    service.label(PROXY_LABEL, None)
    scene.stage.rulebook.settle()
    scene.assert_serves(service, {scene.one})


@pytest.mark.behaviour("headless-label")
def test_endpoint_slice_with_the_headless_label_is_left_alone(scene: Scene, mode: str, version: str) -> None:
    service = scene.stage.service(None)
    node = scene.stage.cluster.pods_on(scene.stage.namespace, {"is": "one"})[scene.one]
    scene.endpoint_slice(service, scene.one, node=node)

    def label(value: str | None) -> None:
        change = {"metadata": {"labels": {HEADLESS_LABEL: value}}}
        scene.stage.cluster.api.patch(
            EndpointSlice,
            service.name,
            change,
            namespace=service.namespace,
            patch_type=PatchType.MERGE,
        )

    scene.stage.settle(service, [scene.one])
    scene.inside.reach(service.url, by={scene.one})
    label("")
    scene.stage.rulebook.settle()
    scene.inside.miss(service.url, kind=declared("no-endpoints", mode=mode, version=version).expected)
    label(None)
    scene.stage.rulebook.settle()
    scene.inside.reach(service.url, by={scene.one})


@pytest.mark.behaviour("hairpin-unknown-node")
def test_pod_whose_node_is_not_known_reaches_itself_as_declared(
    scene: Scene, mode: str, version: str
) -> None:
    """An EndpointSlice by hand need not name the node; others reach the pod, and itself it may not."""
    service = scene.stage.service(None)
    scene.endpoint_slice(service, scene.alone, node=None)
    scene.stage.settle(service, [scene.alone])
    scene.inside.reach(service.url, by={scene.alone})
    itself = Places((scene.stage.client(scene.alone),))
    if declared("hairpin-unknown-node", mode=mode, version=version).expected == "answers":
        itself.reach(service.url, by={scene.alone})
    else:
        itself.miss(service.url)
