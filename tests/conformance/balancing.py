"""A load balancer by hand: an address in a Service's status, and a way to it for the outside machine.

Nothing announces the address. Nodes and pods need nothing to reach it, for kube-proxy serves it on every
node; the outside machine gets a route to it by the node that shall take its connections.
"""

from __future__ import annotations

import contextlib
import itertools
import random
from collections.abc import Iterator

from lightkube.resources.core_v1 import ServiceStatus
from lightkube.types import PatchType

from .nodes import Node
from .probing import FromOutside
from .stage import Published
from .worker import share

LAST = share(range(1, 255))
"""The last numbers of this process's addresses."""
NUMBERS = itertools.cycle(random.sample(LAST, k=len(LAST)))


def free_address() -> str:
    """An address of TEST-NET-2 (RFC 5737) that no other Service has.

    Each process of pytest draws from its own, and none again before it has drawn all others.
    """
    return f"198.51.100.{next(NUMBERS)}"


def assign(service: Published, *addresses: str, ip_mode: str = "VIP") -> None:
    """Say in the Service's status what its load balancer's addresses are, as a controller does.

    Args:
        service: of type LoadBalancer.
        addresses: none: take what it had.
        ip_mode: `Proxy` for a load balancer that connects to NodePorts itself (KEP-1860).
    """
    ingress = [{"ip": address, "ipMode": ip_mode} for address in addresses]
    service.cluster.api.patch(
        ServiceStatus,
        service.name,
        {"status": {"loadBalancer": {"ingress": ingress}}},
        namespace=service.namespace,
        patch_type=PatchType.MERGE,
    )


@contextlib.contextmanager
def reached_by(outside: FromOutside, address: str, node: Node) -> Iterator[None]:
    """For a while the outside machine's way to an address is by this node."""
    outside.run(f"ip route replace {address}/32 via {node.address}", timeout=10)
    try:
        yield
    finally:
        outside.run(f"ip route del {address}/32", timeout=10)
