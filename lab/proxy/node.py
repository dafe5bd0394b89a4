"""What must be known of a node to say what kube-proxy should program there."""

from __future__ import annotations

from dataclasses import dataclass

from lab.proxy.addresses import local_addresses


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One node, by IPv4.

    >>> Node.of("node01", outputs["ip-addr"], address="192.168.1.201", pod_cidr="10.244.0.0/16")
    """

    name: str
    address: str
    """Its InternalIP."""
    addresses: tuple[str, ...]
    """All of its addresses, loopback too, without those of kube-ipvs0."""
    pod_cidr: str | None
    """The cluster's pod CIDR, by which kube-proxy tells pods from others; None if it is not told."""
    zone: str | None = None

    @classmethod
    def of(
        cls, name: str, ip_addr: str, *, address: str, pod_cidr: str | None, zone: str | None = None
    ) -> Node:
        """A node from the text of its `ip -j addr show` (the dump `ip-addr`)."""
        return cls(
            name=name, address=address, addresses=local_addresses(ip_addr), pod_cidr=pod_cidr, zone=zone
        )

    def node_port_addresses(self, mode: str) -> tuple[str, ...]:
        """Where NodePorts are served without `nodePortAddresses` in kube-proxy's configuration."""
        if mode == "nftables":
            return (self.address,)
        if mode == "ipvs":
            return tuple(ip for ip in self.addresses if not ip.startswith("127."))
        return self.addresses
