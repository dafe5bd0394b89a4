"""Ports of Services, with what kube-proxy takes from each.

Upstream: `newBaseServiceInfo` in `pkg/proxy/serviceport.go`, `ShouldSkipService` in `pkg/proxy/util`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import ip_address, ip_network

from lab.proxy.endpoints import PROXY_LABEL, Object, items
from lab.proxy.model import Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Port:
    """One port of one Service, as kube-proxy sees it."""

    namespace: str
    name: str
    port_name: str
    protocol: str
    cluster_ip: str
    port: int
    node_port: int
    vips: tuple[tuple[str, Kind], ...]
    internal_local: bool
    external_local: bool
    affinity: int | None
    source_ranges: tuple[str, ...]
    health_check_port: int

    @property
    def externally(self) -> bool:
        """Whether anything but its ClusterIP leads to it."""
        return bool(self.node_port or self.vips)

    @property
    def title(self) -> str:
        """`namespace/name:port name`."""
        return f"{self.namespace}/{self.name}" + (f":{self.port_name}" if self.port_name else "")

    def allowed(self, node_address: str, vip: str | None) -> tuple[str, ...]:
        """Sources let through to a load balancer IP.

        If the node's own address is among them, also the IP itself, from which the node's connections then
        come: `vip` alone, or every load balancer IP if that is None.
        """
        own = any(ip_address(node_address) in ip_network(cidr) for cidr in self.source_ranges)
        balancers = [ip for ip, kind in self.vips if kind is Kind.LOADBALANCER] if vip is None else [vip]
        return tuple(sorted([*self.source_ranges, *(balancers if own else ())]))


def ports(services: Object | Iterable[Object]) -> Iterator[Port]:
    """Every port of every Service that kube-proxy serves by IPv4."""
    for service in items(services):
        spec, metadata = service["spec"], service["metadata"]
        ips = [ip for ip in spec.get("clusterIPs") or [spec.get("clusterIP") or ""] if _is_ipv4(ip)]
        labels = metadata.get("labels") or {}
        if not ips or spec.get("type") == "ExternalName" or PROXY_LABEL in labels:
            continue
        ingress = ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
        vips = [(ip, Kind.EXTERNAL) for ip in spec.get("externalIPs") or ()]
        vips += [
            (one["ip"], Kind.LOADBALANCER)
            for one in ingress
            if one.get("ipMode", "VIP") == "VIP" and "ip" in one
        ]
        balanced = spec.get("type") == "LoadBalancer"
        open_to_all = spec.get("type") in ("LoadBalancer", "NodePort") or spec.get("externalIPs")
        external_local = bool(open_to_all) and spec.get("externalTrafficPolicy") == "Local"
        client_ip = (spec.get("sessionAffinityConfig") or {}).get("clientIP") or {}
        ranges = [cidr.strip() for cidr in spec.get("loadBalancerSourceRanges") or ()]
        ranges = [cidr for cidr in ranges if ":" not in cidr]
        for port in spec.get("ports") or ():
            yield Port(
                namespace=metadata["namespace"],
                name=metadata["name"],
                port_name=port.get("name") or "",
                protocol=port.get("protocol") or "TCP",
                cluster_ip=ips[0],
                port=port["port"],
                node_port=port.get("nodePort") or 0,
                vips=tuple((ip, kind) for ip, kind in vips if _is_ipv4(ip)),
                internal_local=spec.get("internalTrafficPolicy") == "Local",
                external_local=external_local,
                affinity=client_ip.get("timeoutSeconds", 10800)
                if spec.get("sessionAffinity") == "ClientIP"
                else None,
                # A range of everything means no ranges.
                source_ranges=() if any(cidr.endswith("/0") for cidr in ranges) else tuple(ranges),
                health_check_port=(spec.get("healthCheckNodePort") or 0)
                if balanced and external_local
                else 0,
            )


def _is_ipv4(ip: str) -> bool:
    return "." in ip and ":" not in ip
