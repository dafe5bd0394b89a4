"""TCP segments as bytes, for a raw socket to send: what a delayed or mistaken sender puts on the wire."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from ipaddress import IPv4Address

from .cluster import Endpoint

TCP = 6
PUSH_AND_ACK = 0x18
WORDS = 5
"""32-bit words of a header without options."""


def checksum(text: bytes) -> int:
    """The Internet checksum, RFC 1071."""
    padded = text + b"\0" * (len(text) % 2)
    total: int = sum(struct.unpack(f"!{len(padded) // 2}H", padded))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


@dataclass(frozen=True)
class Segment:
    """A segment with data (RFC 9293)."""

    source: Endpoint
    target: Endpoint
    seq: int
    ack: int
    data: bytes = b"late"

    def raw(self) -> bytes:
        """Header and data, as they follow the IP header."""
        (source, source_port), (target, target_port) = self.source, self.target

        def header(total: int) -> bytes:
            seq, ack = self.seq % 2**32, self.ack % 2**32
            flags = WORDS << 12 | PUSH_AND_ACK
            return struct.pack("!HHIIHHHH", source_port, target_port, seq, ack, flags, 512, total, 0)

        addresses = IPv4Address(source).packed + IPv4Address(target).packed
        pseudo = addresses + struct.pack("!HH", TCP, WORDS * 4 + len(self.data))
        return header(checksum(pseudo + header(0) + self.data)) + self.data
