"""Services and Endpoints as objects of the API: listed, watched, patched, deleted; traffic follows."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from lightkube import ApiError
from lightkube.resources.core_v1 import Endpoints, Service, ServiceStatus
from lightkube.types import PatchType

from .balancing import free_address
from .cluster import Cluster
from .declared import declared
from .places import Places
from .probing import FromNode
from .raw import Collection
from .stage import Published, Stage
from .waiting import wait_until
from .workload import POD_START, TARGET_PORT


@dataclass(frozen=True)
class Scene:
    """Two pods that answer, and the places that connect."""

    stage: Stage
    one: str
    two: str
    inside: Places

    @property
    def cluster(self) -> Cluster:
        """The API."""
        return self.stage.cluster

    def collection(self, plural: str, **labels: str) -> Collection:
        """Objects of the stage with these labels."""
        return Collection(self.cluster, self.stage.namespace, plural, labels)

    def names(self, kind: type[Any]) -> set[str]:
        """The names of the stage's objects of a kind."""
        return {one.metadata.name for one in self.cluster.api.list(kind, namespace=self.stage.namespace)}

    def subsets(self, pod: str) -> dict[str, Any]:
        """What Endpoints with one pod consist of."""
        port = {"port": TARGET_PORT, "protocol": "TCP"}
        # With its node, without which the pod would not reach itself in every mode.
        node = self.cluster.pods_on(self.stage.namespace, {"app": "answers"})[pod]
        return {"subsets": [{"addresses": [{"ip": self.stage.ip(pod), "nodeName": node}], "ports": [port]}]}

    def assert_endpoints(self, service: Published, *pods: str) -> None:
        """Wait until the Endpoints of a Service exist and are these pods."""
        wanted = {self.stage.ip(pod) for pod in pods}

        def are() -> bool:
            try:
                found = self.cluster.api.get(Endpoints, service.name, namespace=service.namespace)
            except ApiError as error:
                raise AssertionError(str(error)) from error
            assert ips(found.to_dict()) == wanted, found.subsets
            return True

        wait_until(f"the Endpoints of {service.name} to be {pods or 'empty'}", are, timeout=POD_START)


def ips(endpoints: Mapping[str, Any]) -> set[str]:
    """The ready addresses of Endpoints."""
    return {
        address["ip"] for part in endpoints.get("subsets") or () for address in part.get("addresses") or ()
    }


@pytest.fixture(scope="module")
def scene(stage: Stage, node_clients: Mapping[str, FromNode]) -> Scene:
    """One for this file: every test has Services of its own in front of the same pods."""
    one, two = (stage.pod({"app": "answers", "is": name}, client=True) for name in ("one", "two"))
    stage.wait(one, two)
    return Scene(stage, one, two, Places((*node_clients.values(), stage.client(one), stage.client(two))))


@pytest.mark.behaviour("service-found-in-all-namespaces")
def test_found_among_the_services_of_all_namespaces(scene: Scene) -> None:
    mine = scene.stage.service({"app": "answers"})
    everything = {
        (service.metadata.namespace, service.metadata.name)
        for service in scene.cluster.services()
        if service.metadata
    }
    assert {("default", "kubernetes"), (mine.namespace, mine.name)} <= everything
    named = scene.cluster.api.list(Service, namespace="*", fields={"metadata.name": mine.name})
    assert [service.metadata and service.metadata.namespace for service in named] == [mine.namespace]


@pytest.mark.behaviour("service-status-lifecycle")
def test_status_is_patched_and_replaced(scene: Scene) -> None:
    """By whoever manages load balancers; kube-proxy serves the address that the status names."""
    api, namespace, name = scene.cluster.api, scene.stage.namespace, f"svc-{secrets.token_hex(4)}"
    address = free_address()
    watched = scene.collection("services", watched=name)
    since = watched.version()
    service = scene.stage.service(
        {"is": "one"},
        name=name,
        labels=watched.labels,
        type="LoadBalancer",
        loadBalancerClass="conformance.kube-service-lab/by-hand",
    )
    seen = api.get(ServiceStatus, name, namespace=namespace)
    assert not (seen.status and seen.status.loadBalancer and seen.status.loadBalancer.ingress)

    # Of the status nothing but the status is changed...
    more = {
        "status": {"loadBalancer": {"ingress": [{"ip": address, "ipMode": "VIP"}]}},
        "spec": {"type": "ClusterIP"},
    }
    api.patch(ServiceStatus, name, more, namespace=namespace, patch_type=PatchType.MERGE)
    scene.stage.settle(service, [scene.one])
    scene.inside.reach(f"http://{address}:80", by={scene.one})

    changed = api.get(ServiceStatus, name, namespace=namespace).to_dict()
    changed["status"]["conditions"] = [
        {
            "type": "Seen",
            "status": "True",
            "reason": "ByHand",
            "message": "replaced",
            "lastTransitionTime": "2020-01-01T00:00:00Z",
        }
    ]
    replacing = ServiceStatus.from_dict(changed)
    assert isinstance(replacing, ServiceStatus)
    api.replace(replacing, name, namespace=namespace)

    # ...and of the Service everything else.
    more = {"metadata": {"labels": {"patched": "yes"}}, "status": {"conditions": [], "loadBalancer": {}}}
    api.patch(Service, name, more, namespace=namespace, patch_type=PatchType.MERGE)
    service.delete()

    told = watched.told_since(since)
    assert [kind for kind, _ in told] == ["ADDED", *["MODIFIED"] * 3, "DELETED"], told
    things = [thing for _, thing in told]
    assert {thing["spec"]["type"] for thing in things} == {"LoadBalancer"}, things
    balanced = [thing["status"]["loadBalancer"].get("ingress", [{}])[0].get("ip") for thing in things]
    assert balanced == [None, *[address] * 4], things
    conditions = [[one["reason"] for one in thing["status"].get("conditions", ())] for thing in things]
    assert conditions == [[], [], *[["ByHand"]] * 3], things
    assert ["patched" in thing["metadata"]["labels"] for thing in things] == [False] * 3 + [True] * 2, things
    scene.stage.rulebook.settle()
    scene.inside.miss(f"http://{address}:80")


@pytest.mark.behaviour("services-deleted-as-collection")
def test_collection_is_deleted_and_the_rest_stays(scene: Scene) -> None:
    label = secrets.token_hex(4)
    *going, staying = (
        scene.stage.service({"app": "answers"}, labels={"collection": value})
        for value in (label, label, f"not-{label}")
    )
    urls = [service.url for service in going]
    scene.stage.settle(staying, [scene.one, scene.two])
    scene.inside.reach(*urls, staying.url, by={scene.one, scene.two}, count=1)
    scene.collection("services", collection=label).delete()
    left = scene.names(Service)
    assert staying.name in left
    assert not left & {service.name for service in going}
    scene.stage.rulebook.settle()
    scene.inside.reach(staying.url, by={scene.one, scene.two})
    scene.inside.miss(*urls)


@pytest.mark.behaviour("endpoints-lifecycle")
def test_endpoints_by_hand_are_followed(scene: Scene, mode: str, version: str) -> None:
    """Of a Service without a selector; kube-proxy follows by the EndpointSlices that mirror them."""
    service = scene.stage.service(None)
    watched = scene.collection("endpoints", watched=service.name)
    since = watched.version()
    scene.stage.apply("v1", "Endpoints", service.name, scene.subsets(scene.one), labels=watched.labels)
    scene.stage.settle(service, [scene.one])
    scene.inside.reach(service.url, by={scene.one})

    scene.cluster.api.patch(
        Endpoints,
        service.name,
        {"metadata": {"labels": {"patched": "yes"}}, **scene.subsets(scene.two)},
        namespace=service.namespace,
        patch_type=PatchType.MERGE,
    )
    scene.stage.settle(service, [scene.two])
    scene.inside.reach(service.url, by={scene.two})

    watched.delete()
    told = watched.told_since(since)
    assert [kind for kind, _ in told] == ["ADDED", "MODIFIED", "DELETED"], told
    pods = (scene.one, scene.two, scene.two)
    assert [ips(thing) for _, thing in told] == [{scene.stage.ip(pod)} for pod in pods], told
    assert ["patched" in thing["metadata"]["labels"] for _, thing in told] == [False, True, True], told
    wait_until(
        f"the EndpointSlices that mirror {service.name} to go with it",
        lambda: not scene.cluster.slices(service.namespace, service.name),
        timeout=POD_START,
    )
    scene.stage.rulebook.settle()
    scene.inside.miss(service.url, kind=declared("no-endpoints", mode=mode, version=version).expected)


@pytest.mark.behaviour("endpoints-follow-selector", "endpoints-without-pods")
def test_endpoints_are_those_of_the_selector(scene: Scene) -> None:
    """There from the start, empty as long as no pod is selected, then all of them; gone with the Service."""
    service = scene.stage.service({"app": "nobody"})
    scene.assert_endpoints(service)
    service.patch(selector={"app": "answers"})
    scene.assert_endpoints(service, scene.one, scene.two)
    service.delete()
    wait_until(
        f"the Endpoints and EndpointSlices of {service.name} to go with it",
        lambda: (
            not scene.cluster.slices(service.namespace, service.name)
            and service.name not in scene.names(Endpoints)
        ),
        timeout=POD_START,
    )
