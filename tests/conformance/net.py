"""Backends and other pods on every node, and an echo: what the checks of the network need."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .cluster import Port
from .everywhere import target
from .probing import Client, FromPod
from .stage import Manifest, Published, Stage
from .together import at_once
from .workload import TARGET_PORT

ECHO_PORT = 7007
LARGE = {"TCP": 1 << 20, "UDP": 8 << 10}
"""Bytes of a large request: many segments; a datagram of several fragments."""
PROTOCOLS = ("http", "udp")
"""mytest's ports by name; those of the echo are `echo-http` and `echo-udp`."""


def echo(port: int) -> list[str]:
    """A command that sends back whatever comes, over TCP and UDP."""
    script = (
        f"socat TCP-LISTEN:{port},fork,reuseaddr EXEC:cat & "
        f"exec socat -b 65535 UDP-RECVFROM:{port},fork,reuseaddr,bind=$POD_IP EXEC:cat"
    )
    return ["sh", "-c", script]


def both(port: int = TARGET_PORT, echo_port: int = ECHO_PORT) -> list[Manifest]:
    """A Service's ports: mytest and the echo, each over TCP and UDP."""
    return [
        {"name": "http", "port": 80, "targetPort": port, "protocol": "TCP"},
        {"name": "udp", "port": 80, "targetPort": port, "protocol": "UDP"},
        {"name": "echo-http", "port": 7, "targetPort": echo_port, "protocol": "TCP"},
        {"name": "echo-udp", "port": 7, "targetPort": echo_port, "protocol": "UDP"},
    ]


@dataclass(frozen=True)
class Net:
    """On each node a backend of one Service, and a pod that is none."""

    stage: Stage
    service: Published
    backends: Mapping[str, str]
    """Node to pod."""
    others: Mapping[str, FromPod]
    """Position to client: on each node a pod that is nobody's backend."""
    addresses: tuple[str, ...]
    """Of the nodes."""

    def pods(self, which: Mapping[str, str]) -> dict[str, Client]:
        """Pods as clients."""
        return {f"the pod {pod} on {node}": self.stage.client(pod) for node, pod in which.items()}

    def ways(self, port: Port) -> list[str]:
        """A port's ClusterIP, then its NodePort on every node."""
        return [target(port), *(target(port, address) for address in self.addresses)]


def assert_whole(net: Net, port: Port) -> None:
    """The echo behind a port gives back what a pod on each node sends."""
    place, size = f"{port.cluster_ip}:{port.number}", LARGE[port.protocol]
    # Of a datagram one fragment that is lost on a busy machine is enough: it is sent three times at most.
    attempts = 3 if port.protocol == "UDP" else 1
    wait = 1.5 if port.protocol == "UDP" else 20
    script = f"""
cd "$(mktemp -d)"
head -c {size} /dev/urandom >sent
for attempt in $(seq {attempts}); do
    timeout 40 socat -b 65535 -t {wait} - {port.protocol}:{place} <sent >got
    test -s got || continue
    if test "$(sha256sum <got)" = "$(sha256sum <sent)"; then echo whole; exit; fi
    echo "$(stat -c %s got) bytes, not as sent"; exit
done
echo lost"""
    said = at_once(net.others, lambda client: client.run(script, timeout=60).strip())
    assert set(said.values()) == {"whole"}, f"{size} bytes to {port.protocol} {place}: {said}"
