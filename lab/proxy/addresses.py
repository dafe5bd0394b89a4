"""A node's own addresses, out of `ip -j addr show`."""

from __future__ import annotations

import json
from ipaddress import IPv4Address

from lab.proxy.model import UnreadableDump

IPVS_DEVICE = "kube-ipvs0"
"""The dummy device to which kube-proxy binds service addresses in ipvs mode."""


def interface_addresses(text: str) -> dict[str, tuple[str, ...]]:
    """Each interface's IPv4 addresses, in the order dumped; an interface without any is there too.

    Raises:
        UnreadableDump: the text is not that JSON.
    """
    try:
        return {
            link["ifname"]: tuple(
                info["local"] for info in link.get("addr_info", ()) if info["family"] == "inet"
            )
            for link in json.loads(text)
            if link  # iproute2 before 6.4 prints an empty object for each link that a filter left out
        }
    except (ValueError, KeyError, TypeError) as error:
        raise UnreadableDump("This is no output of `ip -j addr show`", details=[str(error)]) from error


def local_addresses(text: str) -> tuple[str, ...]:
    """Every IPv4 address that is the node's own, loopback too, but not those bound for ipvs."""
    addresses = interface_addresses(text)
    found = {ip for name, ips in addresses.items() if name != IPVS_DEVICE for ip in ips}
    return tuple(sorted(found, key=IPv4Address))
