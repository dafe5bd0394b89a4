"""The user's own Services, and which of them a change of behaviour is about."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from lab.migrate.model import Concerned
from lab.reach.base import Object
from lab.reach.spaces import MANAGED, MANAGER

CLUSTER_IP, NODE_PORT, AFFINITY = "ClusterIP", "nodePort", "sessionAffinity"
EXTERNAL, RANGES = "externalIPs", "loadBalancerSourceRanges"
EXTERNAL_LOCAL, INTERNAL_LOCAL = "externalTrafficPolicy", "internalTrafficPolicy"

CONCERNS: Mapping[str, str] = {
    "nodeport-on-loopback": NODE_PORT,
    "nodeport-second-address": NODE_PORT,
    "nodeport-closed": NODE_PORT,
    "client-address-cluster": NODE_PORT,
    "client-address-local": EXTERNAL_LOCAL,
    "external-local-no-local-pod": EXTERNAL_LOCAL,
    "internal-local-no-local-pod": INTERNAL_LOCAL,
    "internal-local-of-a-nodeport-no-local-pod": INTERNAL_LOCAL,
    "external-ip-on-node": EXTERNAL,
    "source-ranges-blocked": RANGES,
    "session-affinity-timeout": AFFINITY,
    "clusterip-on-node": CLUSTER_IP,
    "clusterip-ping": CLUSTER_IP,
    "clusterip-wrong-port": CLUSTER_IP,
    "no-endpoints": CLUSTER_IP,
    "choice": CLUSTER_IP,
    "client-address-of-node": CLUSTER_IP,
    "client-address-of-pod": CLUSTER_IP,
    "hairpin-unknown-node": CLUSTER_IP,
    "rules-deleted": CLUSTER_IP,
    "segment-ahead-of-window": CLUSTER_IP,
    "segment-behind-window": CLUSTER_IP,
}
"""Declared behaviour to the trait of the Services that it is about; a unit test sees that none is missing."""


@dataclass(frozen=True)
class OwnService:
    """One of the user's Services; `traits` are what kube-proxy does for it, each in words."""

    name: str
    traits: Mapping[str, str]

    @classmethod
    def of(cls, service: Object) -> OwnService:
        """From the API's object."""
        meta, spec = service["metadata"], service["spec"]
        ports = [str(port["nodePort"]) for port in spec.get("ports") or () if port.get("nodePort")]
        ingress = (service.get("status") or {}).get("loadBalancer", {}).get("ingress") or ()
        balanced = [one["ip"] for one in ingress if one.get("ip")]
        external = [*(spec.get("externalIPs") or ()), *balanced]
        sticky = (spec.get("sessionAffinityConfig") or {}).get("clientIP", {}).get("timeoutSeconds", 10800)
        values = {
            CLUSTER_IP: f"ClusterIP {spec.get('clusterIP')}",
            NODE_PORT: ports and f"nodePort {', '.join(ports)}",
            AFFINITY: spec.get("sessionAffinity") == "ClientIP" and f"sessionAffinity ClientIP, {sticky} s",
            EXTERNAL: external and f"external address {', '.join(external)}",
            RANGES: spec.get(RANGES) and f"loadBalancerSourceRanges {', '.join(spec[RANGES])}",
            EXTERNAL_LOCAL: spec.get(EXTERNAL_LOCAL) == "Local" and "externalTrafficPolicy Local",
            INTERNAL_LOCAL: spec.get(INTERNAL_LOCAL) == "Local" and "internalTrafficPolicy Local",
        }
        traits = {trait: str(words) for trait, words in values.items() if words}
        return cls(f"{meta['namespace']}/{meta['name']}", traits)


def own(services: Iterable[Object], namespaces: Iterable[Object]) -> list[OwnService]:
    """The Services that kube-proxy serves and that no test or tool of this project made."""
    theirs = {space["metadata"]["name"] for space in namespaces if _is_users(space)}
    return [
        OwnService.of(service)
        for service in services
        if service["metadata"]["namespace"] in theirs and _is_served(service)
    ]


def concerned(services: Sequence[OwnService], behaviour: str, target: str) -> tuple[Concerned, ...]:
    """Those that a behaviour, or a target of the truth table that must be alike everywhere, is about."""
    trait = CONCERNS.get(behaviour) or (NODE_PORT if target.startswith("NodePort") else CLUSTER_IP)
    return tuple(
        Concerned(service=service.name, because=service.traits[trait])
        for service in services
        if trait in service.traits
    )


def _is_users(namespace: Object) -> bool:
    meta = namespace["metadata"]
    managed = (meta.get("labels") or {}).get(MANAGED) == MANAGER
    return not managed and not meta.get("deletionTimestamp")


def _is_served(service: Object) -> bool:
    spec, meta = service["spec"], service["metadata"]
    labels = meta.get("labels") or {}
    elsewhere = (
        "service.kubernetes.io/service-proxy-name" in labels or "service.kubernetes.io/headless" in labels
    )
    has_ip = spec.get("clusterIP") not in (None, "", "None")
    return (
        spec.get("type") != "ExternalName" and has_ip and not elsewhere and not meta.get("deletionTimestamp")
    )
