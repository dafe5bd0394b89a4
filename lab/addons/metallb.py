"""MetalLB: Services of type LoadBalancer get an address of the lab's LAN, for which one node answers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import AfterValidator, Field

from lab.addons.base import Addon

if TYPE_CHECKING:
    from lab.addons.base import Built
    from lab.config import Config

COMPONENT, IMAGE, MANIFEST = "metallb", "images-metallb", "metallb.yaml"
FIRST, LAST = 240, 250


@dataclass(frozen=True)
class Range:
    """Addresses from the first to the last, both included."""

    first: IPv4Address
    last: IPv4Address

    def __contains__(self, address: object) -> bool:
        """Whether an address is one of them."""
        return isinstance(address, IPv4Address) and self.first <= address <= self.last

    def __str__(self) -> str:
        """As `lab.yaml` and MetalLB write it."""
        return f"{self.first}-{self.last}"


def read_range(text: str) -> Range:
    """The range that `192.168.1.240-192.168.1.250` means.

    Raises:
        ValueError: it means none.
    """
    form = f"{text!r} is not a range of IPv4 addresses, as 192.168.1.240-192.168.1.250 is"
    ends = re.fullmatch(r"\s*([0-9.]+)\s*-\s*([0-9.]+)\s*", text)
    if ends is None:
        raise ValueError(form)
    try:
        found = Range(IPv4Address(ends[1]), IPv4Address(ends[2]))
    except AddressValueError as error:
        raise ValueError(form) from error
    if found.first > found.last:
        raise ValueError(f"{text!r} ends before it begins")
    return found


Addresses = Annotated[str, AfterValidator(lambda text: str(read_range(text)))]


class Metallb(Addon):
    """Services of type LoadBalancer, by MetalLB in layer 2 mode."""

    images: ClassVar[tuple[str, ...]] = (IMAGE,)
    components: ClassVar[tuple[str, ...]] = (COMPONENT,)

    addresses: Addresses | None = Field(
        None,
        description=f"what Services get, as 192.168.1.{FIRST}-192.168.1.{LAST}; not said: {FIRST} to {LAST} "
        "of the lab's LAN, if that has 256 addresses",
    )

    def pool(self, config: Config) -> Range | None:
        """The addresses that Services get; None where they must be said and are not."""
        if self.addresses is not None:
            return read_range(self.addresses)
        subnet = config.network.subnet
        if config.provider == "ssh" or subnet.num_addresses < 256:
            return None
        return Range(subnet[FIRST], subnet[LAST])

    def faults(self, config: Config) -> Iterator[tuple[str, str]]:
        """Addresses that are somebody's already, or nobody's who answers on the LAN."""
        pool, network, kubernetes = self.pool(config), config.network, config.kubernetes
        if pool is None:
            lan = "that of the machines" if config.provider == "ssh" else f"only {network.subnet}"
            yield "addresses", f"the LAN is {lan}: say which of its addresses Services get"
            return
        for node in config.nodes:
            if node.address in pool:
                yield "addresses", f"{pool} has the address of the node {node.name}, {node.address}"
        if config.provider == "ssh":
            for key in ("pod_cidr", "service_cidr"):
                other = getattr(kubernetes, key)
                if other.network_address in pool or pool.first in other:
                    yield "addresses", f"{pool} overlaps kubernetes.{key} {other}"
            return
        for end in (pool.first, pool.last):
            if end not in network.subnet:
                yield "addresses", f"{pool}: {end} is outside network.subnet {network.subnet}"
        for what, address in (
            ("network address", network.subnet.network_address),
            ("operator's own address", network.gateway),
            ("broadcast address", network.subnet.broadcast_address),
        ):
            if address in pool:
                yield "addresses", f"{pool} has the {what} of {network.subnet}, {address}"

    def extravars(self, config: Config, built: Built) -> Mapping[str, Any]:
        """Its manifest, its image and its addresses; in ipvs mode only the one node shall answer for one."""
        return {
            "metallb_manifest": str(built(COMPONENT).folder / MANIFEST),
            "metallb_image": built(IMAGE).facts["image"],
            "metallb_addresses": str(self.pool(config)),
            "strict_arp": True,
        }
