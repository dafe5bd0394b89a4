"""A connection to a ClusterIP outlives segments that conntrack takes for invalid, and so does not translate.

Untranslated they would reach the client from the pod's own address, which it knows nothing of: its answer is
a reset, and that ends the pod's side of the living connection (kubernetes#74839).
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest
from packaging.version import Version

from .declared import declared
from .nodes import Node
from .probing import Client
from .segments import TCP, Segment
from .stage import Published, Stage

ECHO = 9000
SEEN = "/tmp/segments"
GO = "/tmp/go"
LINES = 6
"""Lines that the client sends: half of them before the segment, the others after it."""
BEHIND, AHEAD = -100_000, 1_000_000_000
"""Bytes from what the server would send next: acknowledged long ago, or far beyond any window."""
IGNORES = Version("6.1")
"""Since then Linux does not call a segment invalid that is behind its window (commit 6e250dcbff1d)."""


@dataclass(frozen=True)
class Echo:
    """A pod whose port 9000 echoes and whose segments are written down, on another node than the client."""

    service: Published
    server: Client
    client: Client
    client_ip: str


@pytest.fixture(scope="module")
def echo(stage: Stage, nodes: tuple[Node, ...]) -> Echo:
    """The Service, programmed, and its client."""
    labels = {"run": "echo"}
    server = stage.pod(labels, node=nodes[-1].name, client=True, server=False, own=True)
    client = stage.pod({"run": "client"}, node=nodes[-2].name, client=True, server=False, own=True)
    service = stage.service(labels, ports=[{"port": ECHO, "targetPort": ECHO}])
    stage.wait(server, client)
    # Written down at once: otherwise what was seen last comes up to a second later.
    dump = f"tcpdump -Z root --immediate-mode -n -l -S -i eth0 tcp port {ECHO}"
    quietly = "2> /dev/null < /dev/null &"
    stage.client(server).run(
        f"{dump} >> {SEEN} {quietly}\nsocat TCP-LISTEN:{ECHO},fork,reuseaddr EXEC:cat > /dev/null {quietly}",
        timeout=20,
    )
    stage.settle(service, {server})
    return Echo(service, stage.client(server), stage.client(client), stage.ip(client))


@dataclass(frozen=True)
class Outcome:
    """What became of a connection into which a segment was put: the lines echoed, the pod's resets."""

    echoed: int
    sent: bool
    resets: int

    @property
    def said(self) -> str:
        """As it is declared."""
        if not self.sent:
            return "the segment was never sent"
        if self.echoed == LINES and not self.resets:
            return "survives"
        if self.echoed == LINES // 2 and self.resets:
            return "reset"
        return f"{self.echoed} of {LINES} lines echoed, {self.resets} resets"


def talk(echo: Echo) -> str:
    """Lines through one connection, each answered before the next, half of them when told to go on."""
    script = f"""
rm -f {GO}
exec 3<>/dev/tcp/{echo.service.cluster_ip}/{ECHO} || exit
for n in $(seq {LINES}); do
  echo "line $n" >&3 && read -r -t 3 -u 3 answer || break
  echo "$answer"
  [ $n != {LINES // 2} ] || for wait in $(seq 200); do [ -e {GO} ] && break; sleep 0.2; done
done"""
    return echo.client.run(f"bash -c '{script}' 2> /dev/null", timeout=90)


def disturb(echo: Echo, offset: int) -> str:
    """Put one segment into the living connection, in the server's name, that far from what it sends next.

    Returns:
        The client's port: of an earlier connection something may be seen still.
    """
    syn = rf"s/.*IP {echo.client_ip}\.\([0-9]*\) > .*Flags \[S\],.*/\1/p"
    opened = f"port=$(sed -n '{syn}' {SEEN} | tail -n 1)"
    half = f'[ "$(grep -c "\\.{ECHO} > {echo.client_ip}\\.$port: .* seq .*:" {SEEN})" -ge {LINES // 2} ]'
    wait = f'for n in $(seq 50); do {opened}; [ -n "$port" ] && {half} && break; sleep 0.2; done'
    port, _, said = echo.server.run(f"{wait}; echo $port; cat {SEEN}", timeout=30).partition("\n")
    last = rf"IP (\S+)\.{ECHO} > {re.escape(echo.client_ip)}\.{port}: Flags \[P\.\], seq \d+:(\d+), ack (\d+)"
    found = re.findall(last, said)
    assert port, f"no connection was seen to begin: {said}"
    assert found, f"no connection was seen to send anything: {said}"
    ip, seq, ack = found[-1]
    segment = Segment((ip, ECHO), (echo.client_ip, int(port)), int(seq) + offset, int(ack))
    text = base64.b64encode(segment.raw()).decode()
    sent = echo.server.run(
        f"echo {text} | base64 -d | socat -u - IP4-SENDTO:{echo.client_ip}:{TCP}", timeout=20
    )
    assert not sent, sent
    return port


def outcome(echo: Echo, offset: int) -> Outcome:
    """What a connection comes to with such a segment in it."""
    echo.server.run(f": > {SEEN}", timeout=20)
    with ThreadPoolExecutor(max_workers=1) as pool:
        talking = pool.submit(talk, echo)
        port = disturb(echo, offset)
        echo.client.run(f"sleep 0.5; touch {GO}", timeout=20)
        echoed = len(talking.result().splitlines())
    seen = echo.server.run(f"cat {SEEN}", timeout=20)
    client = rf"{re.escape(echo.client_ip)}\.{port}"
    sent = re.search(rf"\.{ECHO} > {client}: .* win 512, length 4", seen)
    resets = re.findall(rf"IP {client} > \S+: Flags \[R", seen)
    return Outcome(echoed, sent is not None, len(resets))


@pytest.fixture(scope="module")
def kernels(nodes: tuple[Node, ...]) -> Mapping[str, Version]:
    """Each node's kernel."""
    said = {node.name: node.run("uname -r") for node in nodes}
    return {name: Version(".".join(re.findall(r"\d+", text)[:2])) for name, text in said.items()}


@pytest.mark.behaviour("invalid-segment-behind")
def test_a_segment_behind_the_window_disturbs_nothing(
    echo: Echo, kernels: Mapping[str, Version], mode: str, version: str
) -> None:
    """A retransmission of what was acknowledged long ago, as upstream's test sends it."""
    old = sorted(name for name, kernel in kernels.items() if kernel < IGNORES)
    if mode == "nftables" and old:
        pytest.skip(f"the kernels of {old} call it invalid, and nftables mode does nothing about that")
    found = outcome(echo, BEHIND)
    assert found.said == declared("segment-behind-window", mode=mode, version=version).expected, found


@pytest.mark.behaviour("invalid-segment-ahead")
def test_a_segment_ahead_of_the_window_does_what_is_declared(echo: Echo, mode: str, version: str) -> None:
    """Invalid to every kernel: iptables mode drops it, ipvs translates it, nftables does neither."""
    found = outcome(echo, AHEAD)
    assert found.said == declared("segment-ahead-of-window", mode=mode, version=version).expected, found
