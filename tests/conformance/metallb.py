"""Services of type LoadBalancer: the address they get, and which node answers for it on the LAN."""

from __future__ import annotations

from typing import Any

from lightkube.generic_resource import create_namespaced_resource

from .cluster import Cluster
from .waiting import wait_until
from .workload import Exposed

NAMESPACE = "metallb-system"
GIVEN = 30.0
"""Seconds for MetalLB's controller to give a Service an address, or to take it back."""
ANNOUNCED = 60.0
"""Seconds for its speakers to agree who answers for an address, on a busy host."""
WANTED = "metallb.io/loadBalancerIPs"
"""The annotation that asks for a certain address."""

_Status: Any = create_namespaced_resource("metallb.io", "v1beta1", "ServiceL2Status", "servicel2statuses")


def address_of(service: Exposed) -> str | None:
    """The address that a Service has from its load balancer, None if it has none."""
    status = service.get().status
    given = (status.loadBalancer.ingress if status and status.loadBalancer else None) or []
    return given[0].ip if given else None


def balanced(service: Exposed, *, address: str | None = None, **spec: object) -> str:
    """Make a Service one of type LoadBalancer, and return its address once it has one.

    >>> balanced(mytest, externalTrafficPolicy="Local")
    '192.168.1.240'

    Args:
        service: is created, or given that type.
        address: the one to ask for, where it matters.
        spec: more of the Service's own fields.
    """
    manifest = service.manifest(kind="LoadBalancer")
    manifest["spec"] |= spec
    if address:
        manifest["metadata"]["annotations"] = {WANTED: address}
    service.cluster.apply(manifest)
    return wait_until(
        f"{service.namespace}/{service.name} to get an address",
        lambda: address_of(service) or "",
        timeout=GIVEN,
    )


def url_of(address: str) -> str:
    """The Service on that address."""
    return f"http://{address}:80"


def announcers(cluster: Cluster, service: Exposed) -> set[str]:
    """The nodes whose speakers say that they answer for a Service's address."""
    said = (item["status"] for item in cluster.api.list(_Status, namespace=NAMESPACE) if item.get("status"))
    return {
        status["node"]
        for status in said
        if (status.get("serviceNamespace"), status.get("serviceName")) == (service.namespace, service.name)
    }


def announcer(cluster: Cluster, service: Exposed, *, among: set[str] | None = None) -> str:
    """The one node that answers for a Service's address, once it is one; `among` says which it may be."""

    def one() -> str:
        found = announcers(cluster, service)
        assert len(found) == 1, f"announced by {sorted(found)}"
        assert among is None or found <= among, f"announced by {sorted(found)}, not by one of {sorted(among)}"
        return found.pop()

    return wait_until(f"one node to announce {service.name}", one, timeout=ANNOUNCED)
