"""ipvs's own count of the connections it gave to each real server, held against who answered."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping

from .cluster import Endpoint
from .nodes import Node
from .probing import Client, Outcome

ADDED_UP = 2.5
"""Seconds after which ipvs has added up its counters once more (net/netfilter/ipvs/ip_vs_est.c: two)."""
COUNTED = 15.0
"""Seconds until ipvs has added up its counters, on a busy host."""
Turns = dict[str, dict[Endpoint, int]]
"""Virtual server (`ip:port`) to the connections each of its real servers got, as ipvs itself counts them."""


class Counters:
    """What the ipvs of one node has counted so far. The Service is this file's own: it begins at nothing."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.before: Turns = {}

    def gained(self, server: str, connections: int, *, resent: int) -> dict[Endpoint, int]:
        """Connections by real server since the last reading, once there are as many as were made.

        The kernel adds its counters up every two seconds, so the first reading may be early. One that stays
        below the number of connections is returned as it is. Where SYNs were sent again there may be more to
        count: then it is read once all is added up.
        """
        if resent:
            time.sleep(ADDED_UP)
        before = self.before.get(server, {})

        def read() -> dict[Endpoint, int]:
            self.before[server] = ipvs_counts(self.node).get(server, {})
            return {backend: total - before.get(backend, 0) for backend, total in self.before[server].items()}

        end = time.monotonic() + COUNTED
        while sum((found := read()).values()) < connections and time.monotonic() < end:
            time.sleep(0.5)
        return found


def syns_resent(client: Client) -> int:
    """How many SYNs were sent once more in a client's network namespace so far (TCPSynRetrans)."""
    said = client.run("grep ^TcpExt: /proc/net/netstat", timeout=20)
    names, values = (line.split() for line in said.strip().splitlines())
    return int(dict(zip(names, values, strict=True))["TCPSynRetrans"])


def ipvs_counts(node: Node) -> Turns:
    """Connections by virtual and real server, from `ipvsadm -Ln --stats --exact`."""
    found: Turns = {}
    server: dict[Endpoint, int] = {}
    for line in node.run("ipvsadm -Ln --stats --exact").splitlines():
        if match := re.match(r"TCP\s+(\S+)\s", line):
            server = found.setdefault(match[1], {})
        elif re.match(r"UDP\s", line):
            server = {}
        elif match := re.match(r"\s+-> ([0-9.]+):(\d+)\s+(\d+)\s", line):
            server[match[1], int(match[2])] = int(match[3])
    return found


def assert_answered_by_turn(outcome: Outcome, turns: Mapping[str, int], *, resent: int) -> None:
    """Whoever had a turn, by ipvs's own count, answered; but for turns of SYNs that had to be sent again.

    A SYN may be lost on a busy node after ipvs has given it a turn; the next gets another one. Seen on
    user-mode nodes: 901 turns for 900 SYNs that left the node, and one that was sent again.
    """
    more = {pod: turn - outcome.answers.get(pod, 0) for pod, turn in turns.items()}
    assert outcome.answers.keys() <= turns.keys(), f"{outcome}; ipvs itself counted {turns}"
    assert min(more.values()) >= 0, f"{outcome}; ipvs itself counted {turns}"
    assert sum(more.values()) <= resent, (
        f"{outcome}; ipvs itself counted {turns}; {resent} SYNs were sent again"
    )
