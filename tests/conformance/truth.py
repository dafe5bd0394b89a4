"""The truth table: which client reaches which target, in each mode. What differs is declared."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from .declared import declared

ANSWERS = "answers"
LOOPBACK = "NodePort on 127.0.0.1"
INSIDE, ON_NODE, EVERYWHERE = ("node", "pod"), ("node",), ("node", "pod", "outside")


@dataclass(frozen=True)
class Target:
    """Something to connect to; it answers in every mode unless `behaviour` names a declared difference."""

    name: str
    clients: tuple[str, ...]
    behaviour: str = ""

    def expected(self, *, mode: str, version: str) -> str:
        """`answers`, or how it fails: `refused`, `no answer`."""
        if not self.behaviour:
            return ANSWERS
        return declared(self.behaviour, mode=mode, version=version).expected


TARGETS = (
    Target("pod IP", INSIDE),
    Target("ClusterIP", INSIDE),
    Target("ClusterIP by its DNS name", ("pod",)),
    Target("ClusterIP, port of no Service", INSIDE, "clusterip-wrong-port"),
    Target("ClusterIP, no endpoints", INSIDE, "no-endpoints"),
    Target("NodePort, the client's own node", INSIDE),
    Target("NodePort, other nodes", EVERYWHERE),
    Target(LOOPBACK, ON_NODE, "nodeport-on-loopback"),
    Target("NodePort, no endpoints", EVERYWHERE, "no-endpoints"),
    Target("NodePort of no Service", EVERYWHERE, "nodeport-closed"),
)


@dataclass(frozen=True)
class Reach:
    """One cell of the table: a client (`node01`, `pod`, `outside`) and a target."""

    client: str
    target: Target

    def __str__(self) -> str:
        """The test's id, that a shell takes as it is."""
        return f"{self.client}-{re.sub('[^A-Za-z0-9.]+', '-', self.target.name)}"


def table(nodes: Iterable[str]) -> list[Reach]:
    """Every cell of a cluster with these nodes."""
    clients = {**dict.fromkeys(nodes, "node"), "pod": "pod", "outside": "outside"}
    return [
        Reach(client, target)
        for client, kind in clients.items()
        for target in TARGETS
        if kind in target.clients
    ]


def told(answered: int, failures: Mapping[str, int]) -> str:
    """What was seen, in the words of the table; `no answer` is a time-out.

    >>> told(3, {}), told(0, {"timeout": 2}), told(2, {"refused": 1})
    ('answers', 'no answer', 'answers, refused')
    """
    kinds = sorted("no answer" if kind == "timeout" else kind for kind in failures)
    return ", ".join([ANSWERS] * bool(answered) + kinds)
