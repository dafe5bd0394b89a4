"""What must be known of a node to say what kube-proxy should program there."""

from __future__ import annotations

from dataclasses import dataclass

from lab.proxy.addresses import IPVS_DEVICE, interface_addresses, local_addresses
from lab.proxy.settings import within

EVERYTHING = "0.0.0.0/0"


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
    """How kube-proxy tells pods from others: the cluster's pod CIDR, or `iifname cni0`; None: not at all."""
    zone: str | None = None
    ports_on: tuple[str, ...] = ()
    """kube-proxy's `nodePortAddresses` (CIDRs, or `primary`); empty: the mode's default."""
    bound: tuple[str, ...] = ()
    """Addresses on kube-ipvs0."""
    localhost_node_ports: bool = True
    """`iptables.localhostNodePorts`; the other modes never serve NodePorts on localhost."""

    @classmethod
    def of(
        cls,
        name: str,
        ip_addr: str,
        *,
        address: str,
        pod_cidr: str | None,
        zone: str | None = None,
        ports_on: tuple[str, ...] = (),
        localhost_node_ports: bool = True,
    ) -> Node:
        """A node from the text of its `ip -j addr show` (the dump `ip-addr`)."""
        return cls(
            name=name,
            address=address,
            addresses=local_addresses(ip_addr),
            pod_cidr=pod_cidr,
            zone=zone,
            ports_on=ports_on,
            bound=interface_addresses(ip_addr).get(IPVS_DEVICE, ()),
            localhost_node_ports=localhost_node_ports,
        )

    def node_port_addresses(self, mode: str) -> tuple[str, ...]:
        """Where NodePorts are served."""
        if self.ports_on == ("primary",) or (not self.ports_on and mode == "nftables"):
            return (self.address,)
        found = self.addresses
        if self.ports_on and EVERYTHING not in self.ports_on:
            # Asked for by network, kube-proxy takes what it has bound to kube-ipvs0 as well.
            found = within((*self.addresses, *self.bound), self.ports_on)
        # Only iptables mode serves NodePorts on localhost, unless it is told not to.
        if mode != "iptables" or not self.localhost_node_ports:
            found = tuple(ip for ip in found if not ip.startswith("127."))
        return found
