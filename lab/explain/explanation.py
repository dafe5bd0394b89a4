"""A Service explained: what it is, what is behind it, and the way to each of its addresses on a node."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from lab.errors import InputError
from lab.explain.clients import Origin
from lab.explain.course import course
from lab.explain.walk import Outcome, Step, Walk
from lab.proxy.endpoints import PROXY_LABEL, SERVICE_LABEL, Object
from lab.proxy.model import Endpoint, Frontend, Kind
from lab.proxy.node import Node
from lab.proxy.service_ports import Port, ports

KINDS = {
    Kind.CLUSTER: "ClusterIP",
    Kind.NODEPORT: "NodePort",
    Kind.EXTERNAL: "external IP",
    Kind.LOADBALANCER: "load balancer IP",
}


@dataclass(frozen=True, slots=True)
class Backing:
    """What stands behind an endpoint's address: a pod's name, or none, its node, and its state."""

    pod: str | None
    node: str | None
    state: str

    def __str__(self) -> str:
        where = f"on {self.node}" if self.node else ""
        state = "" if self.state == "ready" else self.state
        pod = f"{self.pod or ''} {where}".strip()
        return ", ".join(part for part in (pod, state) if part)


@dataclass(frozen=True, slots=True)
class Explanation:
    """All there is to tell; without walks `notes` says why kube-proxy has nothing to do with it."""

    service: str
    type: str
    node: str
    mode: str
    notes: tuple[str, ...]
    behind: Mapping[Endpoint, Backing]
    walks: tuple[Walk, ...]

    def json(self) -> dict[str, Any]:
        """For a program; shares are fractions as text."""
        return {
            "service": self.service,
            "type": self.type,
            "node": self.node,
            "mode": self.mode,
            "notes": list(self.notes),
            "endpoints": [
                {"address": _text(end), "pod": one.pod, "node": one.node, "state": one.state}
                for end, one in self.behind.items()
            ],
            "walks": [
                {
                    "kind": KINDS[walk.kind],
                    "port": walk.port,
                    "address": str(walk.to),
                    "rules": [_step(step) for step in walk.steps],
                    "outcomes": [_outcome(outcome) for outcome in walk.outcomes],
                }
                for walk in self.walks
            ],
        }


def explain(
    service: Object,
    slices: Iterable[Object],
    *,
    mode: str,
    outputs: Mapping[str, str],
    node: Node,
    clients: Iterable[Origin],
    port: str | None = None,
) -> Explanation:
    """Explain one Service on one node.

    Args:
        service: the Service object.
        slices: EndpointSlices; those of other Services are left out.
        mode: the node's proxy mode.
        outputs: its dumps.
        node: whose rules.
        clients: who connects.
        port: a port's name or number; None: all.

    Raises:
        InputError: it has no such port.
        UnrecognisedRule: a rule on the way is not understood.
    """
    metadata, spec = service["metadata"], service["spec"]
    title, kind = f"{metadata['namespace']}/{metadata['name']}", spec.get("type", "ClusterIP")
    behind = dict(_behind(service, slices))
    notes = list(_notes(service, behind))
    found = [
        one for one in ports([service]) if port in (None, one.port_name, str(one.port), str(one.node_port))
    ]
    if port is not None and not found:
        names = ", ".join(
            f"{one['port']}" + (f" ({one['name']})" if one.get("name") else "")
            for one in spec.get("ports") or ()
        )
        raise InputError(f"{title} has no port {port!r}.", details=[f"ports: {names or 'none'}"])
    seen = [client.seen_on(node.name) for client in clients]
    way = course(mode, outputs, node) if found else None
    walks = [
        way.walk(front, what, one.port_name, seen)
        for one in found
        for front, what in _entrances(one, mode, node)
        if way is not None
    ]
    return Explanation(title, kind, node.name, mode, tuple(notes), behind, tuple(walks))


def _entrances(port: Port, mode: str, node: Node) -> Iterator[tuple[Frontend, Kind]]:
    """The addresses of one Service port; of a NodePort the node's main one, or the first that serves it."""
    yield Frontend(port.cluster_ip, port.port, port.protocol), Kind.CLUSTER
    for ip, kind in port.vips:
        yield Frontend(ip, port.port, port.protocol), kind
    if port.node_port:
        served = node.node_port_addresses(mode)
        ip = node.address if node.address in served or not served else served[0]
        yield Frontend(ip, port.node_port, port.protocol), Kind.NODEPORT


def _notes(service: Object, behind: Mapping[Endpoint, Backing]) -> Iterator[str]:
    """What is special about it."""
    spec, labels = service["spec"], service["metadata"].get("labels") or {}
    if spec.get("type") == "ExternalName":
        yield (
            f"ExternalName: DNS answers its name with the alias {spec.get('externalName')}; "
            "kube-proxy has no rules for it."
        )
        return
    if PROXY_LABEL in labels:
        yield f"The label {PROXY_LABEL} leaves it to another proxy: kube-proxy has no rules for it."
        return
    if spec.get("clusterIP") == "None":
        yield (
            "Headless: DNS answers its name with the endpoints' own addresses; "
            "clients choose, and kube-proxy has no rules for it."
        )
    elif not any("." in ip for ip in spec.get("clusterIPs") or [spec.get("clusterIP") or ""]):
        yield "It has no IPv4 address, and only IPv4 is explained."
    elif not any(one.state == "ready" for one in behind.values()):
        yield "It has no ready endpoints."
    for field in ("internalTrafficPolicy", "externalTrafficPolicy"):
        if spec.get(field) == "Local":
            yield f"{field} Local: only endpoints on the node that the connection came to."
    if spec.get("sessionAffinity") == "ClientIP":
        client = (spec.get("sessionAffinityConfig") or {}).get("clientIP") or {}
        seconds = client.get("timeoutSeconds", 10800)
        yield f"Session affinity: a client's address keeps its endpoint for {seconds} s."
    if spec.get("loadBalancerSourceRanges"):
        yield f"Only these sources may use its load balancer: {', '.join(spec['loadBalancerSourceRanges'])}."
    if spec.get("publishNotReadyAddresses"):
        yield "publishNotReadyAddresses: endpoints count as ready whether or not their pods are."


def _behind(service: Object, slices: Iterable[Object]) -> Iterator[tuple[Endpoint, Backing]]:
    for piece in slices:
        labels = piece["metadata"].get("labels") or {}
        same = piece["metadata"]["namespace"] == service["metadata"]["namespace"]
        if (
            not same
            or labels.get(SERVICE_LABEL) != service["metadata"]["name"]
            or piece.get("addressType") != "IPv4"
        ):
            continue
        for port in piece.get("ports") or ():
            for endpoint in piece.get("endpoints") or ():
                target = endpoint.get("targetRef") or {}
                backing = Backing(target.get("name"), endpoint.get("nodeName"), _state(endpoint))
                yield (endpoint["addresses"][0], int(port.get("port") or 0)), backing


def _state(endpoint: Object) -> str:
    conditions = endpoint.get("conditions") or {}
    if conditions.get("terminating"):
        return "terminating, still serving" if conditions.get("serving") is not False else "terminating"
    return "ready" if conditions.get("ready") is not False else "not ready"


def _step(step: Step) -> dict[str, Any]:
    return {
        "chain": step.chain,
        "depth": step.depth,
        "rule": step.rule,
        "words": step.words,
        "packets": step.packets,
        "shares": {name: str(share) for name, share in step.shares.items()},
        "endpoint": _text(step.end) if step.end else None,
        "leads_to": step.leads,
    }


def _outcome(outcome: Outcome) -> dict[str, Any]:
    return {
        "client": outcome.client.name,
        "source": outcome.client.address,
        "endpoints": {_text(end): str(share) for end, share in outcome.ends.items()},
        "masqueraded": sorted(_text(end) for end in outcome.masqueraded),
        "refused": {str(how): str(share) for how, share in outcome.refused.items()},
        "not_handled": str(outcome.passed if outcome.passed else Fraction(0)),
        "affinity_seconds": outcome.sticky,
    }


def _text(end: Endpoint) -> str:
    return f"{end[0]}:{end[1]}"
