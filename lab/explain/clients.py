"""Who connects: `--from node02`, `--from "pod X"`, `--from outside`, an address, or the three usual ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv4Network
from typing import Any

from lab.errors import InputError
from lab.explain.walk import Client
from lab.proxy.endpoints import Object

OUTSIDE = "outside"
OUTSIDE_ADDRESS = "203.0.113.1"
"""An address of nobody's (RFC 5737), for clients of which only that much is known."""


@dataclass(frozen=True, slots=True)
class Origin:
    """A client before it is known on which node its connections are looked at.

    Attributes:
        node: the node it is on; None outside.
        host: it is a process of the node itself, or a pod in the node's own network.
    """

    name: str
    address: str
    node: str | None = None
    host: bool = False

    def seen_on(self, node: str) -> Client:
        """The same as that node sees it."""
        here = self.node == node
        return Client(self.name, self.address, local=here and self.host, pod=here and not self.host)


def origin(text: str, nodes: Mapping[str, Object], pods: Iterable[Object], namespace: str) -> Origin:
    """The client that a `--from` means.

    Args:
        text: `outside`, a node's name, `pod NAME`, `pod/NAME`, `pod/NAMESPACE/NAME`, or an IPv4 address.
        nodes: Node objects by name.
        pods: all Pod objects; read only for a pod.
        namespace: of a pod that is named without one.

    Raises:
        InputError: there is no such client.
    """
    if text == OUTSIDE:
        return Origin(OUTSIDE, OUTSIDE_ADDRESS)
    if text in nodes:
        return Origin(text, address_of(nodes[text]), text, host=True)
    kind, _, named = text.replace(" ", "/", 1).partition("/")
    if kind == "pod" and named:
        space, _, name = named.rpartition("/")
        return _pod(space or namespace, name, pods)
    try:
        return Origin(text, str(IPv4Address(text)))
    except AddressValueError:
        raise InputError(
            f"There is no client {text!r}.",
            details=[f"nodes: {', '.join(sorted(nodes))}"],
            fix='--from outside, --from node01, --from "pod NAME", or --from ADDRESS',
        ) from None


def _pod(namespace: str, name: str, pods: Iterable[Object]) -> Origin:
    there = [pod for pod in pods if pod["metadata"]["namespace"] == namespace]
    for pod in there:
        status = pod.get("status") or {}
        if pod["metadata"]["name"] == name and status.get("podIP"):
            host = bool(pod["spec"].get("hostNetwork"))
            return Origin(f"pod {name}", status["podIP"], pod["spec"]["nodeName"], host)
    names = ", ".join(sorted(pod["metadata"]["name"] for pod in there)) or "none"
    raise InputError(f"There is no pod {name!r} with an address.", details=[f"pods of {namespace}: {names}"])


def usual(node: str, described: Object) -> list[Origin]:
    """A process and a pod of the node, and somebody outside."""
    pods = [cidr for cidr in _pod_cidrs(described) if "." in cidr]
    found = [Origin(node, address_of(described), node, host=True)]
    if pods:
        # Its last address but one: like any pod's there, and no particular pod's.
        found.append(Origin(f"a pod on {node}", str(IPv4Network(pods[0])[-2]), node))
    return [*found, Origin(OUTSIDE, OUTSIDE_ADDRESS)]


def _pod_cidrs(node: Object) -> list[str]:
    spec: Mapping[str, Any] = node.get("spec") or {}
    return spec.get("podCIDRs") or [spec.get("podCIDR") or ""]


def address_of(node: Object) -> str:
    """A Node object's InternalIP, of IPv4."""
    addresses = (node.get("status") or {}).get("addresses") or ()
    return next(
        (one["address"] for one in addresses if one["type"] == "InternalIP" and ":" not in one["address"]), ""
    )
