"""EndpointSlices that no controller of Services made: written by hand, or mirrored from Endpoints.

Upstream: `test/e2e/network/endpointslice.go` and `endpointslicemirroring.go`.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import pytest
from lightkube.resources.core_v1 import Endpoints

from lab.proxy.endpoints import SERVICE_LABEL

from .cluster import MANAGED_BY
from .declared import declared
from .everywhere import Everywhere, check
from .rulebook import Rulebook
from .stage import Manifest, Published, Stage
from .waiting import wait_until

MIRROR = "endpointslicemirroring-controller.k8s.io"
MIRRORED = 30.0
"""Seconds until a change of Endpoints is mirrored."""
PORTS = [{"name": "one", "port": 80}, {"name": "two", "port": 81}]
"""Of Services whose slices are written by hand: the targetPort is the slices' matter."""


@dataclass(frozen=True)
class Pods:
    """Two pods whose port `web` differs, and one that answers on two ports."""

    stage: Stage
    first: str
    """On 3000."""
    second: str
    """On 3001."""
    double: str
    """On 8090 and 9090."""


@pytest.fixture(scope="module")
def pods(stage: Stage) -> Pods:
    """One for this file: its tests only select them."""
    first = stage.pod({"app": "first", "of": "both"}, port=3000, port_name="web")
    second = stage.pod({"app": "second", "of": "both"}, port=3001, port_name="web")
    servers = [
        {**stage.cluster.container("mytest", name=f"on-{port}"), "args": [f"--listen=:{port}"]}
        for port in (8090, 9090)
    ]
    double = stage.pod({"app": "double"}, containers=servers)
    stage.wait(first, second, double)
    return Pods(stage, first, second, double)


def endpoint(stage: Stage, pod: str) -> Manifest:
    """A pod as an endpoint of a slice that is written by hand."""
    return {"addresses": [stage.ip(pod)], "conditions": {"ready": True}}


def write_slice(
    stage: Stage, service: Published, ports: Mapping[str, int], pods: Iterable[str], name: str = ""
) -> str:
    """Write a slice of a Service without selector; returns its name.

    Args:
        stage: where.
        service: whose.
        ports: the Service's port by name to the pods' own.
        pods: the endpoints.
        name: of a slice to replace.
    """
    name = name or f"{service.name}-{secrets.token_hex(3)}"
    rest = {
        "addressType": "IPv4",
        "endpoints": [endpoint(stage, pod) for pod in pods],
        "ports": [{"name": port, "port": number, "protocol": "TCP"} for port, number in ports.items()],
    }
    labels = {SERVICE_LABEL: service.name, MANAGED_BY: "kube-service-lab-conformance"}
    stage.apply("discovery.k8s.io/v1", "EndpointSlice", name, rest, labels=labels)
    return name


@pytest.mark.behaviour("endpointslices-multiple-ports")
def test_ports_of_one_address_in_two_slices(pods: Pods, everywhere: Everywhere, rulebook: Rulebook) -> None:
    """Both ports of the Service answer, each by the port of its slice."""
    service = pods.stage.service(None, ports=PORTS)
    write_slice(pods.stage, service, {"one": 8090}, [pods.double])
    write_slice(pods.stage, service, {"two": 9090}, [pods.double])
    rulebook.settle()
    for port in ("one", "two"):
        everywhere.assert_answered(service.ports[port], {pods.double})


@pytest.mark.behaviour("endpointslices-multiple-ips")
def test_addresses_in_two_slices(pods: Pods, everywhere: Everywhere, rulebook: Rulebook) -> None:
    """Each port of the Service is answered by the pod of its slice, and by no other."""
    service = pods.stage.service(None, ports=PORTS, type="NodePort")
    write_slice(pods.stage, service, {"one": 3000}, [pods.first])
    write_slice(pods.stage, service, {"two": 3001}, [pods.second])
    rulebook.settle()
    everywhere.assert_answered(service.ports["one"], {pods.first})
    everywhere.assert_answered(service.ports["two"], {pods.second})


@pytest.mark.behaviour("endpointslices-merged")
def test_slices_of_one_port_are_merged(pods: Pods, everywhere: Everywhere, rulebook: Rulebook) -> None:
    """All of them count, an endpoint that two of them have counts once, and one that is emptied no more."""
    service = pods.stage.service(None, ports=PORTS[:1], type="NodePort")
    write_slice(pods.stage, service, {"one": 3000}, [pods.first])
    write_slice(pods.stage, service, {"one": 3001}, [pods.second])
    again = write_slice(pods.stage, service, {"one": 8090}, [pods.double])
    write_slice(pods.stage, service, {"one": 8090}, [pods.double])
    rulebook.settle()
    everywhere.assert_answered(service.ports["one"], {pods.first, pods.second, pods.double})
    write_slice(pods.stage, service, {"one": 8090}, [], name=again)
    rulebook.settle()
    everywhere.assert_answered(service.ports["one"], {pods.first, pods.second, pods.double})


@pytest.mark.behaviour("endpoints-mirrored")
def test_endpoints_are_mirrored(
    pods: Pods, everywhere: Everywhere, rulebook: Rulebook, mode: str, version: str
) -> None:
    """Endpoints written by hand become a slice that is served, follows their changes, and ends with them."""
    stage = pods.stage
    service = stage.service(None, ports=PORTS[:1], type="NodePort")
    for pod, number in ((pods.first, 3000), (pods.second, 3001)):
        write_endpoints(stage, service, [({"one": number}, pod)])
        wait_for_mirror(service, {("one", stage.ip(pod), number)})
        rulebook.settle()
        everywhere.assert_answered(service.ports["one"], {pod})
    stage.cluster.remove(Endpoints, service.name, namespace=stage.namespace)
    wait_until(
        f"the mirrored slice of {service.name} to be gone",
        lambda: not stage.cluster.slices(stage.namespace, service.name),
        timeout=MIRRORED,
    )
    rulebook.settle()
    kind = declared("no-endpoints", mode=mode, version=version).expected
    (port,) = service.ports.values()
    # TCP tries again after one second and after three, should the kernel hold a refusal back.
    check(everywhere.ask(port, count=1), lambda outcome: outcome.assert_none_answered(kind=kind))


@pytest.mark.behaviour("endpoints-mirrored-subsets")
def test_subsets_of_one_address_are_mirrored(pods: Pods, everywhere: Everywhere, rulebook: Rulebook) -> None:
    """Two subsets with the same address and other ports: both ports of the Service answer."""
    stage = pods.stage
    service = stage.service(None, ports=PORTS, type="NodePort")
    write_endpoints(stage, service, [({"one": 8090}, pods.double), ({"two": 9090}, pods.double)])
    ip = stage.ip(pods.double)
    wait_for_mirror(service, {("one", ip, 8090), ("two", ip, 9090)})
    rulebook.settle()
    for port in ("one", "two"):
        everywhere.assert_answered(service.ports[port], {pods.double})


def write_endpoints(
    stage: Stage, service: Published, subsets: Iterable[tuple[Mapping[str, int], str]]
) -> None:
    """Write the Endpoints of a Service without selector: for each subset its ports and its pod."""
    written = [
        {
            "addresses": [{"ip": stage.ip(pod)}],
            "ports": [{"name": name, "port": number} for name, number in ports.items()],
        }
        for ports, pod in subsets
    ]
    stage.apply("v1", "Endpoints", service.name, {"subsets": written})


def wait_for_mirror(service: Published, expected: set[tuple[str, str, int]]) -> None:
    """Until the mirrored slices have exactly these (port name, address, port)."""

    def seen() -> bool:
        parts = service.cluster.slices(service.namespace, service.name)
        managers = {((part.metadata and part.metadata.labels) or {}).get(MANAGED_BY) for part in parts}
        assert managers == {MIRROR}, f"managed by {managers}"
        found = {
            (port.name, address, port.port)
            for part in parts
            for port in part.ports or ()
            for one in part.endpoints or ()
            for address in one.addresses
        }
        assert found == expected, f"{found}, not {expected}"
        return True

    wait_until(f"the Endpoints of {service.name} to be mirrored", seen, timeout=MIRRORED)
