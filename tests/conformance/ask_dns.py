"""Ask DNS servers for a name's IPv4 addresses, over UDP and TCP. Run on nodes: the standard library only.

    python3 ask_dns.py SERVER... mytest-svc.default.svc.cluster.local

prints one line a server and protocol: `10.96.0.10 UDP 10.100.20.30` or `10.96.0.10 TCP failed: timed out`.
"""

from __future__ import annotations

import secrets
import socket
import struct
import sys


def question(name: str) -> bytes:
    """A query for the A records of a name (RFC 1035, section 4)."""
    labels = b"".join(bytes([len(part)]) + part.encode() for part in name.split("."))
    header = struct.pack("!6H", secrets.randbelow(65536), 0x0100, 1, 0, 0, 0)
    return header + labels + struct.pack("!BHH", 0, 1, 1)


def answers(message: bytes, asked: bytes) -> list[str]:
    """The addresses in an answer; the answer section starts where the question ends."""
    if message[:2] != asked[:2]:
        raise ValueError("the answer to another question")
    code, count = message[3] & 15, struct.unpack("!H", message[6:8])[0]
    if code:
        raise ValueError(f"response code {code}")
    at, found = len(asked), []
    for _ in range(count):
        # A name in an answer is a pointer (two bytes) or labels up to a zero or a pointer.
        while message[at] and message[at] < 192:
            at += message[at] + 1
        at += 2 if message[at] else 1
        kind, _, _, length = struct.unpack("!HHIH", message[at : at + 10])
        if kind == 1:
            found.append(socket.inet_ntoa(message[at + 10 : at + 14]))
        at += 10 + length
    return found


def ask(server: str, name: str, protocol: str) -> list[str]:
    """The addresses one server gives for a name."""
    asked = question(name)
    kind = socket.SOCK_DGRAM if protocol == "UDP" else socket.SOCK_STREAM
    with socket.socket(socket.AF_INET, kind) as connection:
        connection.settimeout(5)
        connection.connect((server, 53))
        if protocol == "UDP":
            connection.send(asked)
            return answers(connection.recv(4096), asked)
        connection.sendall(struct.pack("!H", len(asked)) + asked)
        with connection.makefile("rb") as stream:
            (length,) = struct.unpack("!H", stream.read(2))
            return answers(stream.read(length), asked)


def main() -> None:
    """Ask each server in turn, by each protocol."""
    *servers, name = sys.argv[1:]
    for server in servers:
        for protocol in ("UDP", "TCP"):
            try:
                said = " ".join(ask(server, name, protocol))
            except (OSError, ValueError, struct.error) as fault:
                said = f"failed: {fault}"
            print(server, protocol, said)


if __name__ == "__main__":
    main()
