"""Pods come and go: every node's rules and traffic follow, and the ClusterIP stays.

Within `PROGRAMMED` seconds of a change of the EndpointSlices every node's rules equal them; from then on no
backend that is gone is ever chosen.
"""

from __future__ import annotations

import pytest

from .declared import declared
from .nodes import Node, on_each
from .probing import FromNode, Outcome
from .rulebook import Rulebook
from .waiting import wait_until
from .workload import POD_START, REPLICAS, Exposed

REQUESTS = 60
QUICKLY = 1.0
"""Seconds a refusal may take: it is an answer, not a time-out."""


def traffic(nodes: tuple[Node, ...], service: Exposed, *, count: int = REQUESTS) -> dict[str, Outcome]:
    """Requests to the ClusterIP from every node at once."""
    return on_each(nodes, lambda node: FromNode(node).probe(service.url, count=count)[0])


def assert_followed(nodes: tuple[Node, ...], service: Exposed, rulebook: Rulebook) -> None:
    """Rules equal the slices in time; from then on only live pods answer, on every node."""
    rulebook.settle()
    pods = set(service.workload.pods())
    for outcome in traffic(nodes, service).values():
        outcome.assert_all_answered(by=pods)


@pytest.mark.behaviour("deleted-pod-replaced")
def test_deleted_pod_is_never_chosen_again_and_replaced(
    mytest: Exposed, nodes: tuple[Node, ...], rulebook: Rulebook
) -> None:
    rulebook.settle()
    before = mytest.cluster_ip
    victim, ip = next(iter(mytest.workload.pods().items()))
    mytest.workload.delete_pod(victim)
    wait_until(
        f"the deleted pod {victim} to leave the EndpointSlices",
        lambda: ip not in {address for address, _ in mytest.cluster.endpoints(mytest.namespace, mytest.name)},
        timeout=POD_START,
    )
    # From the slices' change on, not from the pod's end: its replacement may still be starting.
    rulebook.settle()
    for outcome in traffic(nodes, mytest).values():
        assert victim not in outcome.answers, f"{outcome}: {victim} had left the EndpointSlices and the rules"
        assert outcome.answered == outcome.count, str(outcome)
    mytest.workload.settle(REPLICAS, service=mytest.name)
    assert_followed(nodes, mytest, rulebook)
    assert mytest.cluster_ip == before


@pytest.mark.behaviour("scaling-followed")
@pytest.mark.parametrize("replicas", [5, 1])
def test_scaling_is_followed(
    mytest: Exposed, nodes: tuple[Node, ...], rulebook: Rulebook, replicas: int
) -> None:
    before = mytest.cluster_ip
    mytest.workload.set_replicas(replicas)
    mytest.workload.settle(replicas, service=mytest.name)
    assert_followed(nodes, mytest, rulebook)
    assert mytest.cluster_ip == before


@pytest.mark.behaviour("scaled-to-zero-refused")
def test_scaled_to_nothing_is_refused_quickly_and_comes_back(
    mytest: Exposed, nodes: tuple[Node, ...], rulebook: Rulebook, mode: str, version: str
) -> None:
    before = mytest.cluster_ip
    mytest.workload.set_replicas(0)
    mytest.workload.settle(0, service=mytest.name)
    wait_until(
        f"the last pods of {mytest.name} to leave the EndpointSlices",
        lambda: not mytest.cluster.leaving(mytest.namespace, mytest.name),
        timeout=POD_START,
    )
    rulebook.settle()
    entry = declared("no-endpoints", mode=mode, version=version)
    for outcome in traffic(nodes, mytest, count=3).values():
        outcome.assert_none_answered(kind=entry.expected)
        assert outcome.seconds / outcome.count < QUICKLY, f"{outcome}: refused, but slowly"
    mytest.workload.set_replicas(REPLICAS)
    mytest.workload.settle(REPLICAS, service=mytest.name)
    assert_followed(nodes, mytest, rulebook)
    assert mytest.cluster_ip == before
