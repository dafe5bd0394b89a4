"""Facts about a mode that no connection alone tells: cells of the truth table, beside those of `truth.py`.

What is expected of each is declared, in `declared.py`, also where all modes are alike: a migration is judged
by what was measured before and after, and by nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

NODES, ELSEWHERE, POD, OUTSIDE = "nodes", "elsewhere", "pod", "outside"
"""Who asks: each node; each but the last, where the pinned pod is; a pod; a machine outside."""


@dataclass(frozen=True)
class Kind:
    """Something that is measured; `behaviour` is what `declared.py` calls it."""

    behaviour: str
    name: str
    clients: tuple[str, ...]


KINDS = (
    Kind("clusterip-on-node", "ClusterIP as an address of the node", (NODES,)),
    Kind("external-ip-on-node", "externalIP as an address of the node", (NODES,)),
    Kind("clusterip-ping", "ping of a ClusterIP", (NODES, POD)),
    Kind("client-address-of-node", "client address that a pod sees, by ClusterIP", (NODES,)),
    Kind("client-address-of-pod", "client address that a pod sees, by ClusterIP", (POD,)),
    Kind("client-address-cluster", "client address that a pod sees, by NodePort", (OUTSIDE,)),
    Kind(
        "client-address-local",
        "client address that a pod sees, by NodePort, externalTrafficPolicy Local",
        (OUTSIDE,),
    ),
    Kind("nodeport-second-address", "NodePort on another address of the node", (NODES,)),
    Kind(
        "external-local-no-local-pod", "NodePort, externalTrafficPolicy Local, no pod on the node", (OUTSIDE,)
    ),
    Kind(
        "internal-local-no-local-pod",
        "ClusterIP, internalTrafficPolicy Local, no pod on the node",
        (ELSEWHERE,),
    ),
    Kind(
        "source-ranges-blocked",
        "load balancer IP, from outside of its loadBalancerSourceRanges",
        (NODES, POD),
    ),
    Kind("choice", "choice of the backend", (NODES,)),
    Kind("session-affinity-timeout", "affinity to a client that comes back after its timeout", (NODES,)),
)
NEEDS_ANOTHER_NODE = ("external-local-no-local-pod", "internal-local-no-local-pod")


@dataclass(frozen=True)
class Fact:
    """One cell: who asks, and what is measured."""

    client: str
    kind: Kind

    def __str__(self) -> str:
        """The test's id, that a shell takes as it is."""
        return f"{self.client}-{self.kind.behaviour}"


def table(nodes: Iterable[str]) -> list[Fact]:
    """Every cell of a cluster with these nodes."""
    names = tuple(nodes)
    who = {NODES: names, ELSEWHERE: names[:-1], POD: (POD,), OUTSIDE: (OUTSIDE,)}
    return [
        Fact(client, kind)
        for kind in KINDS
        if len(names) > 1 or kind.behaviour not in NEEDS_ANOTHER_NODE
        for place in kind.clients
        for client in who[place]
    ]


def pinged(said: str) -> str:
    """What `ping` came to, in the words of the table.

    >>> pinged("2 packets transmitted, 2 received, 0% packet loss")
    'answers'
    """
    received = re.search(r"(\d+) (?:packets )?received", said)
    assert received, f"not what ping prints: {said!r}"
    if int(received[1]):
        return "answers"
    return "refused" if re.search("unreachable|filtered|prohibited", said, re.IGNORECASE) else "no answer"
