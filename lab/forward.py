"""Ports of 127.0.0.1 that lead into a lab, so that the user's own kubectl and browser work.

The listening sockets are opened here, on the host. The process that serves them (`python -m lab.forward`)
inherits them and starts inside the lab's namespaces, so it connects from there and ends with the lab.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lab.config import Config
from lab.errors import PrerequisiteError
from lab.state import LabState, read_json, write_json

LOOPBACK = "127.0.0.1"
API_PORT = 6443
MODULE_ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Forward:
    """A port of 127.0.0.1 and where it leads."""

    port: int
    address: str
    target: int

    def __str__(self) -> str:
        return f"{LOOPBACK}:{self.port} → {self.address}:{self.target}"


def listen(wanted: int, *, exact: bool) -> socket.socket:
    """A listening socket on 127.0.0.1.

    Args:
        wanted: the port.
        exact: refuse any other port; otherwise take any free one when it is in use.

    Raises:
        PrerequisiteError: the port is in use and `exact`.
    """
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((LOOPBACK, wanted))
    except OSError as error:
        if exact:
            sock.close()
            raise PrerequisiteError(
                f"port {wanted} of {LOOPBACK} is in use",
                details=[str(error)],
                fix="choose another in lab.yaml under forward:, or auto",
            ) from error
        sock.bind((LOOPBACK, 0))
    sock.listen(64)
    return sock


def start(prefix: Sequence[str], forwards: Mapping[Forward, socket.socket], *, log: Path) -> None:
    """Start the forwarder inside; it takes over the sockets and ends with the lab."""
    routes = [f"{sock.fileno()}:{forward.address}:{forward.target}" for forward, sock in forwards.items()]
    with log.open("ab") as sink:
        process = subprocess.Popen(
            [*prefix, sys.executable, "-m", "lab.forward", *routes],
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=sink,
            cwd=MODULE_ROOT,
            pass_fds=[sock.fileno() for sock in forwards.values()],
            start_new_session=True,
        )
    process.returncode = 0  # it outlives this process, so nobody waits for it
    for sock in forwards.values():
        sock.close()


def ensure(config: Config, state: LabState, operator: Sequence[str]) -> dict[str, int]:
    """Forward what the configuration asks for, unless this boot of the lab already does.

    Returns:
        Port of 127.0.0.1 by name: `api`, or the NodePort's number. It is kept in the lab's `forwards.json`.

    Raises:
        PrerequisiteError: a port that was asked for by number is in use.
    """
    record = state.dir / "forwards.json"
    known = read_json(record)
    if known and known.get("operator") == list(operator):
        return {name: int(port) for name, port in known["ports"].items()}
    wanted = {"api": (config.forward.api, API_PORT)}
    wanted |= {str(port): (host, port) for port, host in config.forward.node_ports.items()}
    forwards = {}
    for name, (host, target) in wanted.items():
        sock = listen(target if host == "auto" else host, exact=host != "auto")
        forwards[name] = (Forward(sock.getsockname()[1], str(config.master.address), target), sock)
    start(operator, dict(forwards.values()), log=state.dir / "forward.log")
    ports = {name: forward.port for name, (forward, _) in forwards.items()}
    write_json(record, {"operator": list(operator), "ports": ports})
    return ports


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    with contextlib.suppress(OSError):
        writer.write_eof()


async def serve(sock: socket.socket, address: str, port: int) -> None:
    """Lead every connection to a listening socket on to an address and port, for ever."""

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.wait_for(asyncio.open_connection(address, port), 10)
        except (OSError, TimeoutError):
            writer.transport.abort()
            return
        await asyncio.gather(_pipe(reader, far_writer), _pipe(far_reader, writer))
        writer.close()
        far_writer.close()

    server = await asyncio.start_server(accept, sock=sock)
    await server.serve_forever()


async def _main(routes: Sequence[str]) -> None:
    parts = [route.split(":") for route in routes]
    await asyncio.gather(
        *(serve(socket.socket(fileno=int(fd)), address, int(port)) for fd, address, port in parts)
    )


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1:]))
