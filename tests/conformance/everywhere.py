"""Many clients that ask at once, and whatever went wrong told together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import pytest

from .cluster import Port
from .expectation import Unmet
from .nodes import Node
from .probing import TOLD, Client, FromNode, FromOutside, FromPod, Outcome
from .together import at_once, each

Outcomes = Mapping[str, Sequence[Outcome]]
"""Position (`node01`, `the pod on node02`, `outside`) to what became of its requests, target by target."""


def target(port: Port, address: str = "") -> str:
    """Where to ask for a Service's port: at its ClusterIP, or by its NodePort at a node's address."""
    place = f"{address}:{port.node_port}" if address else f"{port.cluster_ip}:{port.number}"
    return place if port.protocol == "UDP" else f"http://{place}"


def ask(
    clients: Mapping[str, Client],
    targets: Sequence[str] | Mapping[str, Sequence[str]],
    *,
    count: int = 3,
    udp: bool = False,
    timeout: float = TOLD,
) -> Outcomes:
    """Let all clients ask at once, each in one round trip.

    Args:
        clients: position to client.
        targets: the same for all of them, or position to targets.
        count: requests to each target.
        udp: datagrams.
        timeout: seconds a request may take.
    """
    of = targets if isinstance(targets, Mapping) else dict.fromkeys(clients, targets)
    places = {position: (client, of[position]) for position, client in clients.items()}
    return at_once(places, lambda it: it[0].probe(*it[1], count=count, udp=udp, timeout=timeout))


def check(outcomes: Outcomes, expect: Callable[[Outcome], None]) -> None:
    """Hold every outcome against an expectation, which raises `Unmet`; all that differ are told."""
    each((position, partial(expect, outcome)) for position, found in outcomes.items() for outcome in found)


def answered_by(outcomes: Sequence[Outcome]) -> set[str]:
    """Whoever answered one of these."""
    return {pod for outcome in outcomes for pod in outcome.answers}


def assert_each_sees(outcomes: Outcomes, pods: set[str]) -> None:
    """Every request was answered by one of these pods, and every position saw all of them."""
    check(outcomes, lambda outcome: outcome.assert_all_answered(by=pods))
    less = {position: answered_by(found) for position, found in outcomes.items()}
    if wrong := {position: seen for position, seen in less.items() if seen != pods}:
        raise Unmet(
            expected=f"answers of each of {', '.join(sorted(pods))}",
            seen="; ".join(
                f"{position}: of {', '.join(sorted(seen))} alone" for position, seen in wrong.items()
            ),
        )


@dataclass(frozen=True)
class Everywhere:
    """Each node, a pod, and outside: whoever a Service is for."""

    inside: Mapping[str, Client]
    """Those that may ask the ClusterIP."""
    outside: Mapping[str, Client]
    """Empty where this process is on no machine that reaches the nodes."""
    addresses: tuple[str, ...]
    """Of the nodes."""

    def ask(self, port: Port, *, count: int = 2, timeout: float = TOLD) -> Outcomes:
        """A Service's port, by all its ways: ClusterIP (not from outside) and NodePort on every node."""
        by_node_port = [target(port, address) for address in self.addresses] if port.node_port else []
        targets = {position: [target(port), *by_node_port] for position in self.inside}
        clients = dict(self.inside)
        if by_node_port:
            clients |= self.outside
            targets |= dict.fromkeys(self.outside, by_node_port)
        return ask(clients, targets, count=count, udp=port.protocol == "UDP", timeout=timeout)

    def assert_answered(self, port: Port, by: set[str]) -> None:
        """A Service's port answers by all its ways: all of these pods, and nobody else.

        All positions together send so many requests that one of three pods is left out by chance in less
        than one of 10^10 runs.
        """
        many = 5 if port.node_port else 20
        outcomes = self.ask(port, count=1 if len(by) == 1 else many)
        check(outcomes, lambda outcome: outcome.assert_all_answered(by=by))
        seen = answered_by([outcome for found in outcomes.values() for outcome in found])
        assert seen == by, f"{port} was answered by {sorted(seen)}, not by all of {sorted(by)}"


@pytest.fixture(scope="session")
def everywhere(
    node_clients: Mapping[str, FromNode],
    asking_pod: FromPod,
    outsiders: tuple[FromOutside, ...],
    nodes: tuple[Node, ...],
) -> Everywhere:
    """All positions that are no Service's backends."""
    inside: dict[str, Client] = {**node_clients, "a pod": asking_pod}
    return Everywhere(
        inside, {client.name: client for client in outsiders}, tuple(node.address for node in nodes)
    )
