"""A way out of a lab: a port on its LAN that leads to an address which this host reaches.

The other direction than `lab.forward`. The listening socket is made in the lab's network namespace and
handed to a process (`python -m lab.relay`) that connects from the host's network. That one is in the lab's
PID namespace, so it ends with the lab.
"""

from __future__ import annotations

import asyncio
import select
import socket
import subprocess
import sys
from pathlib import Path

from lab import forward
from lab.errors import BringUpError
from lab.netns import Namespace

START_TIMEOUT = 20


def ensure(namespace: Namespace, listen: tuple[str, int], target: tuple[str, int], *, log: Path) -> None:
    """Have connections to `listen`, on the lab's LAN, lead to `target`, unless they do already.

    Args:
        namespace: the lab's.
        listen: address of the operator on the LAN, and port.
        target: host and port, as this host sees them.
        log: where the process complains.

    Raises:
        BringUpError: it did not start.
    """
    words = [*map(str, listen), *map(str, target)]
    if any(process.argv[-4:] == tuple(words) for process in namespace.processes()):
        return
    inside = [part for part in namespace.enter() if part != "--net"]
    network = f"/proc/{namespace.pid}/ns/net"
    with log.open("ab") as sink:
        process = subprocess.Popen(
            [*inside, sys.executable, "-m", "lab.relay", network, *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=sink,
            cwd=forward.MODULE_ROOT,
            start_new_session=True,
        )
    assert process.stdout is not None
    with process.stdout as said:
        ready, _, _ = select.select([said], [], [], START_TIMEOUT)
        if not ready or said.readline() != b"ready\n":
            process.kill()
            raise BringUpError(
                f"nothing leads from {':'.join(words[:2])} on the lab's LAN to {':'.join(words[2:])}",
                details=log.read_text(errors="replace").splitlines()[-5:],
            )
    process.returncode = 0  # it outlives this process, so nobody waits for it


def listener(network: str, address: str, port: int) -> socket.socket:
    """A listening socket in another network namespace, made there by a child that hands it over."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        subprocess.run(
            [
                *("nsenter", f"--net={network}", "--"),
                *(sys.executable, "-m", "lab.relay", f"{theirs.fileno()}", address, f"{port}"),
            ],
            pass_fds=[theirs.fileno()],
            cwd=forward.MODULE_ROOT,
            timeout=START_TIMEOUT,
            check=True,
        )
        _, (descriptor,), _, _ = socket.recv_fds(ours, 1, 1)
    return socket.socket(fileno=descriptor)


def _hand_over(channel: int, address: str, port: int) -> None:
    with socket.create_server((address, port), backlog=64) as sock, socket.socket(fileno=channel) as theirs:
        socket.send_fds(theirs, [b"."], [sock.fileno()])


def _relay(network: str, listen: tuple[str, int], target: tuple[str, int]) -> None:
    sock = listener(network, *listen)
    print("ready", flush=True)
    sys.stdout.close()
    asyncio.run(forward.serve(sock, *target))


if __name__ == "__main__":
    match sys.argv[1:]:
        case [network, address, port, host, target]:
            _relay(network, (address, int(port)), (host, int(target)))
        case [channel, address, port]:
            _hand_over(int(channel), address, int(port))
