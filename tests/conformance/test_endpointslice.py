"""EndpointSlices, and Endpoints: made for the pods that a Service selects, and gone with it.

Upstream: `test/e2e/network/endpointslice.go` and `endpoints.go`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from lightkube.resources.core_v1 import Endpoints, Pod
from lightkube.resources.discovery_v1 import EndpointSlice

from lab.proxy.endpoints import SERVICE_LABEL

from .cluster import MANAGED_BY
from .everywhere import Everywhere
from .stage import Published, Stage
from .waiting import wait_until
from .workload import POD_START

CONTROLLER = "endpointslice-controller.k8s.io"
COLLECTED = 90.0
"""Seconds until the garbage collector has taken what a deleted Service owned, as upstream waits."""


@dataclass(frozen=True)
class Pods:
    """Two pods whose port `web` differs."""

    stage: Stage
    first: str
    """On 3000."""
    second: str
    """On 3001."""


@pytest.fixture(scope="module")
def pods(stage: Stage) -> Pods:
    """One for this file: its tests only select them."""
    first = stage.pod({"app": "first", "of": "both"}, port=3000, port_name="web")
    second = stage.pod({"app": "second", "of": "both"}, port=3001, port_name="web")
    stage.wait(first, second)
    return Pods(stage, first, second)


def described(part: EndpointSlice) -> dict[str, Any]:
    """What a slice says of its pods: name to address, node, conditions; and its ports."""
    return {
        "ports": {(port.name, port.port, port.protocol) for port in part.ports or ()},
        "endpoints": {
            one.targetRef.name: (tuple(one.addresses), one.nodeName, one.targetRef.uid, told(one.conditions))
            for one in part.endpoints or ()
            if one.targetRef
        },
    }


def told(conditions: Any) -> tuple[bool | None, ...]:
    """(ready, serving, terminating)."""
    return (conditions.ready, conditions.serving, conditions.terminating)


def wanted(stage: Stage, pod: str) -> tuple[object, ...]:
    """The same of a Ready pod, from the pod itself."""
    found = stage.cluster.api.get(Pod, pod, namespace=stage.namespace)
    assert found.spec is not None
    assert found.metadata is not None
    return ((stage.ip(pod),), found.spec.nodeName, found.metadata.uid, (True, True, False))


@pytest.mark.behaviour("endpointslices-of-matching-pods", "endpoints-of-matching-pods")
def test_slices_describe_the_matching_pods(pods: Pods, everywhere: Everywhere) -> None:
    """A slice for each set of ports; Endpoints say the same; and the Service answers by those pods."""
    stage = pods.stage
    one = stage.service({"app": "first"}, ports=[{"name": "http", "port": 80, "targetPort": 3000}])
    both = stage.service({"of": "both"}, ports=[{"name": "http", "port": 80, "targetPort": "web"}])
    first = {
        "ports": {("http", 3000, "TCP")},
        "endpoints": {pods.first: wanted(stage, pods.first)},
    }
    second = {
        "ports": {("http", 3001, "TCP")},
        "endpoints": {pods.second: wanted(stage, pods.second)},
    }
    wait_for_slices(one, [first])
    wait_for_slices(both, [first, second])
    for service, targets in ((one, {(pods.first, 3000)}), (both, {(pods.first, 3000), (pods.second, 3001)})):
        for part in stage.cluster.slices(stage.namespace, service.name):
            assert_owned(part, service)
        wait_for_endpoints(service, {(stage.ip(pod), port) for pod, port in targets})
    stage.settle(both, [pods.first, pods.second], port="http")
    everywhere.assert_answered(both.ports["http"], {pods.first, pods.second})


@pytest.mark.behaviour("endpointslices-of-matching-pods")
def test_slices_that_are_deleted_are_made_again(pods: Pods) -> None:
    stage = pods.stage
    service = stage.service({"app": "first"}, ports=[{"name": "http", "port": 80, "targetPort": 3000}])
    described_as = {"ports": {("http", 3000, "TCP")}, "endpoints": {pods.first: wanted(stage, pods.first)}}
    wait_for_slices(service, [described_as])
    (before,) = stage.cluster.slices(stage.namespace, service.name)
    assert before.metadata is not None
    assert before.metadata.name is not None
    stage.cluster.api.delete(EndpointSlice, before.metadata.name, namespace=stage.namespace)
    wait_for_slices(service, [described_as], but=before.metadata.uid)


def wait_for_slices(service: Published, expected: list[dict[str, Any]], *, but: str | None = None) -> None:
    """Until the Service's slices say this, and none of them is the one with that uid."""

    def seen() -> bool:
        found = service.cluster.slices(service.namespace, service.name)
        said = [described(part) for part in found]
        assert sorted(map(str, said)) == sorted(map(str, expected)), f"{said}, not {expected}"
        assert but not in [part.metadata and part.metadata.uid for part in found]
        return True

    wait_until(f"the EndpointSlices of {service.name} to describe its pods", seen, timeout=POD_START)


def assert_owned(part: EndpointSlice, service: Published) -> None:
    """The slice is the controller's, IPv4, and belongs to its Service."""
    meta, owner = part.metadata, service.get().metadata
    assert meta is not None
    assert owner is not None
    labels = meta.labels or {}
    assert (labels.get(MANAGED_BY), labels.get(SERVICE_LABEL)) == (CONTROLLER, service.name), labels
    assert part.addressType == "IPv4"
    assert [(one.kind, one.uid) for one in meta.ownerReferences or ()] == [("Service", owner.uid)]


def wait_for_endpoints(service: Published, expected: set[tuple[str, int]]) -> None:
    """Until the Endpoints object of the Service has these addresses and ports."""

    def seen() -> bool:
        found = service.cluster.api.get(Endpoints, service.name, namespace=service.namespace)
        pairs = {
            (address.ip, port.port)
            for subset in found.subsets or ()
            for address in subset.addresses or ()
            for port in subset.ports or ()
        }
        assert pairs == expected, f"{pairs}, not {expected}"
        return True

    wait_until(f"the Endpoints of {service.name}", seen, timeout=POD_START)


@pytest.mark.behaviour("endpointslices-come-and-go-with-the-service")
def test_slice_comes_and_goes_with_a_service_that_matches_nothing(stage: Stage) -> None:
    """Empty, but there, as are its Endpoints; gone once the Service is deleted."""
    service = stage.service({"app": "nobody"})
    wait_for_slices(service, [{"ports": set(), "endpoints": {}}])
    (part,) = stage.cluster.slices(stage.namespace, service.name)
    assert_owned(part, service)
    wait_for_endpoints(service, set())
    service.delete()
    wait_until(
        f"the EndpointSlice and the Endpoints of {service.name} to be collected",
        lambda: not stage.cluster.slices(stage.namespace, service.name) and not has_endpoints(service),
        timeout=COLLECTED,
    )


def has_endpoints(service: Published) -> bool:
    """Whether there is an Endpoints object of the Service's name."""
    return service.cluster.has(Endpoints, service.name, namespace=service.namespace)
