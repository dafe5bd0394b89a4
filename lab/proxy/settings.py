"""What a node's kube-proxy says of its own configuration: `/configz` on its metrics port.

Upstream: `KubeProxyConfiguration` of kubeproxy.config.k8s.io: v1alpha1 since 1.36, the internal one before.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network, ip_network
from typing import Any

from lab.proxy.model import UnreadableDump


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The part of the configuration that shows in the rules, of IPv4."""

    pods: str | None = None
    """How pods are told from other clients: a CIDR, or `iifname cni0`; None if they are not."""
    scheduler: str = "rr"
    masquerade_all: bool = False
    node_port_addresses: tuple[str, ...] = ()
    """CIDRs of the addresses that serve NodePorts, or `primary`; empty: the mode's default."""
    localhost_node_ports: bool = True


def settings(text: str, pod_cidr: str | None) -> Settings:
    """Read the configuration.

    Args:
        text: the JSON that `/configz` answers with.
        pod_cidr: the node's own pod CIDR (`spec.podCIDR`), for detection by it.

    Raises:
        UnreadableDump: the text is no such JSON.
    """
    try:
        (config,) = json.loads(text).values()
        return Settings(
            pods=_pods(config, pod_cidr),
            scheduler=_of(config, "ipvs", "scheduler") or "rr",
            masquerade_all=any(
                _of(config, part, "masqueradeAll") for part in ("linux", "iptables", "nftables")
            ),
            node_port_addresses=tuple(
                each for each in _of(config, "nodePortAddresses") or () if ":" not in each
            ),
            localhost_node_ports=_of(config, "iptables", "localhostNodePorts") is not False,
        )
    except (ValueError, TypeError, AttributeError) as error:
        raise UnreadableDump(
            "This is no /configz of kube-proxy's", details=[text[:200], str(error)]
        ) from error


def _of(config: Mapping[str, Any], *path: str) -> Any:
    """A setting by its name in the API, however the release at hand spells its Go fields."""
    found: Any = config
    for name in path:
        known = {key.lower(): value for key, value in (found or {}).items()}
        found = known.get(name.lower())
    return found


def _pods(config: Mapping[str, Any], pod_cidr: str | None) -> str | None:
    how = _of(config, "detectLocalMode") or "ClusterCIDR"
    if how == "ClusterCIDR":
        # Releases before 1.36 tell their internal configuration, which has a list.
        cidrs = _of(config, "detectLocal", "clusterCIDRs") or (_of(config, "clusterCIDR") or "").split(",")
        return next((cidr.strip() for cidr in cidrs if "." in cidr), None)
    if how == "NodeCIDR":
        return pod_cidr
    if how == "BridgeInterface":
        return f"iifname {_of(config, 'detectLocal', 'bridgeInterface')}"
    return f"iifname {_of(config, 'detectLocal', 'interfaceNamePrefix')}*"


def within(addresses: tuple[str, ...], cidrs: tuple[str, ...]) -> tuple[str, ...]:
    """Those of the addresses that are in any of the networks."""
    networks = [ip_network(cidr, strict=False) for cidr in cidrs]
    return tuple(
        ip
        for ip in addresses
        if any(IPv4Network(ip).subnet_of(net) for net in networks if isinstance(net, IPv4Network))
    )
