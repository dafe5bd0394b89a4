"""Many clients at once, and whom the servers took them for."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import pytest

from .declared import Declared
from .expectation import Unmet
from .nodes import Node
from .probing import TOLD, UNTOLD, Client, FromPod, Outcome
from .stage import Stage
from .together import at_once, each

REQUESTS = 12
"""That two pods of one Service both seem to be alone by chance happens in one of 2,048 cases a client."""


@pytest.fixture(scope="module")
def pod_clients(stage: Stage, nodes: tuple[Node, ...]) -> dict[str, FromPod]:
    """An ordinary pod to connect from on each node, by the node's name."""
    made = {node.name: stage.pod({}, node=node.name, client=True, server=False) for node in nodes}
    stage.wait(*made.values())
    return {node: stage.client(pod) for node, pod in made.items()}


def sources(outcome: Outcome) -> set[str]:
    """The addresses that all of a run's requests came from, as mytest's `/clientip` saw them."""
    outcome.assert_all_answered()
    return {seen.rpartition(":")[0] for seen in outcome.answers}


def assert_from(outcome: Outcome, addresses: set[str]) -> None:
    """`/clientip` saw no other addresses than these."""
    if not sources(outcome) <= addresses:
        what = f"{outcome.client} seen by the server as {' or '.join(sorted(addresses))}"
        raise Unmet(expected=what, seen=str(outcome), asked=outcome.asked)


def patience(entry: Declared) -> float:
    """Seconds that a request may take whose outcome is declared."""
    return UNTOLD if entry.expected == "no answer" else TOLD


def assert_as_declared(outcome: Outcome, entry: Declared, *, by: set[str] | None = None) -> None:
    """Answered (`by` these), refused or not answered, as an entry of `DECLARED` has it."""
    if entry.expected == "answers":
        outcome.assert_all_answered(by=by)
    else:
        outcome.assert_none_answered(kind="timeout" if entry.expected == "no answer" else entry.expected)


def assert_by_node(
    *groups: Mapping[str, Client], url: str, answers: Mapping[str, str], otherwise: Declared
) -> None:
    """Every client is answered by what its own node has for it alone, or as declared where that is nothing.

    Args:
        groups: node to a client on it, once for each kind of client.
        url: the Service.
        answers: node to the pod that answers there, by the name it says.
        otherwise: what is expected on the nodes that are not in `answers`.
    """
    where = {
        node if client.name == node else f"{client.name} on {node}": (node, client)
        for group in groups
        for node, client in group.items()
    }
    nodes = {node for node, _ in where.values()}
    assert nodes & set(answers), f"no client on {' or '.join(answers)}"
    assert nodes - set(answers), f"only clients on {' and '.join(answers)}"

    def ask(place: tuple[str, Client]) -> Outcome:
        node, client = place
        if node in answers:
            return client.probe(url, count=REQUESTS)[0]
        return client.probe(url, count=1, timeout=patience(otherwise))[0]

    told = at_once(where, ask)
    each(
        (
            place,
            partial(outcome.assert_all_answered, by={answers[node]})
            if (node := where[place][0]) in answers
            else partial(assert_as_declared, outcome, otherwise),
        )
        for place, outcome in told.items()
    )


def addresses(node: Node) -> set[str]:
    """All IPv4 addresses of a node, but for those that kube-proxy binds in ipvs mode."""
    lines = node.run("ip -o -4 addr show").splitlines()
    return {word.split()[3].partition("/")[0] for word in lines if word.split()[1] != "kube-ipvs0"}
