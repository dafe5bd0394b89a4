"""Who answers for an address on the lab's LAN: asked by ARP, and every answer counted."""

from __future__ import annotations

import socket
import struct
import time
from ipaddress import IPv4Address

from .nodes import Node
from .probing import FromOutside

ARP, IPV4, REQUEST, REPLY = 0x0806, 0x0800, 1, 2
EVERYONE, NOBODY = b"\xff" * 6, b"\x00" * 6
_FIXED = struct.Struct("!HHBBH6s4s6s4s")


def own_address(towards: str) -> str:
    """The address that this machine's connections to another come from; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as packets:
        packets.connect((towards, 9))
        return str(packets.getsockname()[0])


def who_has(address: str, outside: FromOutside, *, seconds: float = 2) -> set[str]:
    """The hardware addresses of all who answer when asked for an address from outside.

    Args:
        address: what is asked for.
        outside: this process's own place, on the LAN.
        seconds: how long answers are waited for; the question is put four times.
    """
    own = own_address(address)
    # `2: lan0    inet 192.168.1.1/24 …`
    interface = outside.run(f"ip -o -4 addr show to {own}", timeout=10).split()[1]
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ARP)) as wire:
        wire.bind((interface, ARP))
        mac: bytes = wire.getsockname()[4]
        wanted = IPv4Address(address).packed
        question = _FIXED.pack(1, IPV4, 6, 4, REQUEST, mac, IPv4Address(own).packed, NOBODY, wanted)
        found: set[str] = set()
        for _ in range(4):
            wire.send((EVERYONE + mac + ARP.to_bytes(2) + question).ljust(60, b"\x00"))
            end = time.monotonic() + seconds / 4
            while (left := end - time.monotonic()) > 0:
                wire.settimeout(left)
                try:
                    frame = wire.recv(2048)
                except TimeoutError:
                    break
                *_, operation, sender, answered, _, _ = _FIXED.unpack_from(frame, 14)
                if (operation, answered) == (REPLY, wanted):
                    found.add(sender.hex(":"))
    return found


def hardware_address(node: Node) -> str:
    """That of the interface which has the node's address."""
    return node.run(f"set -- $(ip -o -4 addr show to {node.address}); cat /sys/class/net/$2/address").strip()
