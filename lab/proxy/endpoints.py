"""Which endpoints a node may send a Service port's connections to, out of EndpointSlices.

Upstream: `CategorizeEndpoints` in `pkg/proxy/topology.go` and `pkg/proxy/endpointslicecache.go`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from lab.proxy.model import Endpoint

Object = Mapping[str, Any]
"""One object as `kubectl get -o json` prints it."""

ServicePort = tuple[str, str, str, str]
"""(namespace, Service, port name, protocol)."""

SERVICE_LABEL = "kubernetes.io/service-name"
PROXY_LABEL = "service.kubernetes.io/service-proxy-name"
HEADLESS_LABEL = "service.kubernetes.io/headless"


@dataclass(frozen=True, slots=True)
class Candidate:
    """One endpoint as its slice describes it, seen from one node."""

    endpoint: Endpoint
    local: bool
    ready: bool
    serving: bool
    terminating: bool
    zones: frozenset[str] = frozenset()
    nodes: frozenset[str] = frozenset()

    @property
    def last_resort(self) -> bool:
        """Terminating but still serving: used when nothing is ready."""
        return self.serving and self.terminating


@dataclass(frozen=True, slots=True)
class Usable:
    """The endpoints of one Service port that a node may use.

    `cluster` and `local` are those of each traffic policy, empty if the Service never uses it; `anywhere`
    says whether any node has a usable one; `here` are all on this node, whatever their state.
    """

    cluster: frozenset[Endpoint]
    local: frozenset[Endpoint]
    anywhere: bool
    here: frozenset[Endpoint] = field(default=frozenset())


def items(objects: Object | Iterable[Object]) -> list[Object]:
    """Objects out of a list object (`{"items": […]}`) or any series of them."""
    if isinstance(objects, Mapping):
        return list(objects["items"])
    return list(objects)


def candidates(slices: Object | Iterable[Object], node: str) -> dict[ServicePort, dict[Endpoint, Candidate]]:
    """All IPv4 endpoints of all Service ports that kube-proxy looks at, by address."""
    found: dict[ServicePort, dict[Endpoint, Candidate]] = {}
    for piece in items(slices):
        metadata = piece["metadata"]
        labels = metadata.get("labels") or {}
        if piece.get("addressType") != "IPv4" or SERVICE_LABEL not in labels:
            continue
        if PROXY_LABEL in labels or HEADLESS_LABEL in labels:
            continue
        for port in piece.get("ports") or ():
            if not port.get("port"):
                continue
            key = (
                metadata["namespace"],
                labels[SERVICE_LABEL],
                port.get("name") or "",
                port.get("protocol") or "TCP",
            )
            known = found.setdefault(key, {})
            for endpoint in piece.get("endpoints") or ():
                candidate = _candidate(endpoint, port["port"], node)
                # A pod may have got the address of one that is still terminating: the living one counts.
                if candidate.endpoint not in known or not candidate.terminating:
                    known[candidate.endpoint] = candidate
    return found


def _candidate(endpoint: Object, port: int, node: str) -> Candidate:
    conditions = endpoint.get("conditions") or {}
    hints = endpoint.get("hints") or {}
    return Candidate(
        endpoint=(endpoint["addresses"][0], int(port)),
        local=endpoint.get("nodeName") == node,
        ready=conditions.get("ready") is not False,
        serving=conditions.get("serving") is not False,
        terminating=conditions.get("terminating") is True,
        zones=frozenset(hint["name"] for hint in hints.get("forZones") or ()),
        nodes=frozenset(hint["name"] for hint in hints.get("forNodes") or ()),
    )


def usable(
    known: Iterable[Candidate], *, cluster: bool, local: bool, node: str, zone: str | None = None
) -> Usable:
    """Choose as kube-proxy does for each policy: the ready ones, else those terminating but serving.

    Args:
        known: all endpoints of the Service port.
        cluster: the Service port ever uses traffic policy Cluster.
        local: it ever uses Local.
        node: the node's name, for hints that prefer the same node.
        zone: the node's zone, for hints that prefer the same zone.
    """
    every = tuple(known)
    ready = [one for one in every if one.ready]
    anywhere: set[Endpoint] = set()
    of_cluster: set[Endpoint] = set()
    if cluster:
        preferred = _by_hints(ready, node, zone)
        of_cluster = {one.endpoint for one in preferred or (one for one in every if one.last_resort)}
        anywhere |= of_cluster
    of_node: set[Endpoint] = set()
    if local:
        mine = [one for one in ready if one.local]
        of_node = {one.endpoint for one in mine or (one for one in every if one.local and one.last_resort)}
        anywhere |= {one.endpoint for one in every if one.ready or one.last_resort}
    here = frozenset(one.endpoint for one in every if one.local)
    return Usable(frozenset(of_cluster), frozenset(of_node), bool(anywhere), here)


def _by_hints(ready: list[Candidate], node: str, zone: str | None) -> list[Candidate]:
    """The ready endpoints that hints leave: they count only if all have one and some mean this node."""
    if all(one.nodes for one in ready):
        same_node = [one for one in ready if node in one.nodes]
        if same_node:
            return same_node
    if zone and all(one.zones for one in ready):
        same_zone = [one for one in ready if zone in one.zones]
        if same_zone:
            return same_zone
    return ready
