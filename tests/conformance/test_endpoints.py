"""Which pods stand behind a Service: those that are not Ready, those that leave, and none at all.

Where a Service has no endpoint, its clients are refused at once instead of waiting for a time-out.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import pytest
from lightkube.resources.core_v1 import Pod

from .cluster import Port
from .declared import declared
from .everywhere import Everywhere, ask, check, target
from .expectation import Unmet
from .probing import FromNode, Outcome
from .rulebook import Rulebook
from .stage import SERVER, Published, Stage
from .waiting import wait_until
from .workload import POD_START

QUICKLY = 1.0
"""Seconds a refusal may take: it is an answer, not a time-out."""
Refused = Callable[[Port], None]
LAST = 150
"""Seconds that a pod on its way out has left, and answers: more than a test takes. Its end is forced."""


@dataclass(frozen=True)
class Pair:
    """A pod that answers and is not Ready, and two Services of it: only one publishes such pods."""

    stage: Stage
    pod: str
    publishes: Published
    withholds: Published


@pytest.fixture
def unready(stage: Stage) -> Iterator[Pair]:
    """Of one test alone, which changes it."""
    labels = {"app": f"unready-{secrets.token_hex(3)}"}
    pod = stage.pod(labels, ready=False, drain=LAST, grace=LAST)
    publishes, withholds = (
        stage.service(labels, type="NodePort", publishNotReadyAddresses=publish) for publish in (True, False)
    )
    wait_until(
        f"the server of {pod} to answer its probes",
        partial(_serves, stage, pod),
        timeout=POD_START,
        evidence=partial(stage.cluster.story, stage.namespace, pod),
    )
    yield Pair(stage, pod, publishes, withholds)
    for service in (publishes, withholds):
        service.delete()
    stage.cluster.remove(Pod, pod, namespace=stage.namespace)


def _serves(stage: Stage, pod: str) -> bool:
    status = stage.cluster.api.get(Pod, pod, namespace=stage.namespace).status
    containers = (status and status.containerStatuses) or ()
    return any(container.name == SERVER and container.ready for container in containers)


def wait_for_conditions(service: Published, *, ready: bool, terminating: bool) -> None:
    """Until the Service's one endpoint is so; it never serves, for its pod is not Ready."""
    wanted = (ready, False, terminating)

    def seen() -> bool:
        found = [
            (bool(one.conditions.ready), bool(one.conditions.serving), bool(one.conditions.terminating))
            for part in service.cluster.slices(service.namespace, service.name)
            for one in part.endpoints or ()
            if one.conditions
        ]
        assert found == [wanted], f"(ready, serving, terminating) are {found}, not {wanted}"
        return True

    wait_until(f"the endpoint of {service.name} to follow its pod", seen, timeout=POD_START)


@pytest.fixture
def refused(everywhere: Everywhere, mode: str, version: str) -> Refused:
    """A check that a Service's port refuses connections from everywhere."""
    kind = declared("no-endpoints", mode=mode, version=version).expected

    def check_it(port: Port) -> None:
        outcomes = everywhere.ask(port, count=1)
        check(outcomes, lambda outcome: outcome.assert_none_answered(kind=kind))

    return check_it


def assert_published_alone(
    pair: Pair, everywhere: Everywhere, refused: Refused, rulebook: Rulebook, *, terminating: bool = False
) -> None:
    """The Service that publishes pods that are not Ready answers everywhere, the other refuses.

    Then the two change places, and so do answers and refusals.
    """
    for publishes, withholds in ((pair.publishes, pair.withholds), (pair.withholds, pair.publishes)):
        publishes.patch(publishNotReadyAddresses=True)
        withholds.patch(publishNotReadyAddresses=False)
        wait_for_conditions(publishes, ready=True, terminating=terminating)
        wait_for_conditions(withholds, ready=False, terminating=terminating)
        rulebook.settle()
        (served,), (refusing,) = publishes.ports.values(), withholds.ports.values()
        check(everywhere.ask(served), lambda one: one.assert_all_answered(by={pair.pod}))
        refused(refusing)


@pytest.mark.behaviour("unready-endpoints-published", "unready-endpoints-withheld")
def test_pod_that_is_not_ready_answers_where_it_is_published(
    unready: Pair, everywhere: Everywhere, refused: Refused, rulebook: Rulebook
) -> None:
    assert_published_alone(unready, everywhere, refused, rulebook)


@pytest.mark.behaviour("terminating-unready-endpoints-published", "terminating-unready-endpoints-withheld")
def test_pod_on_its_way_out_answers_where_it_is_published(
    unready: Pair, everywhere: Everywhere, refused: Refused, rulebook: Rulebook
) -> None:
    """It is not Ready either, so that it is no last resort for the Service that does not publish it."""
    unready.stage.delete(unready.pod)
    assert_published_alone(unready, everywhere, refused, rulebook, terminating=True)


@pytest.mark.behaviour("no-endpoints-refused")
def test_without_endpoints_is_refused_quickly(
    stage: Stage, node_clients: Mapping[str, FromNode], refused: Refused, rulebook: Rulebook
) -> None:
    """On the ClusterIP from each node and a pod, on every NodePort from outside as well."""
    service = stage.service({"app": "nobody"}, type="NodePort")
    rulebook.settle()
    (port,) = service.ports.values()
    refused(port)
    check(ask(node_clients, [target(port)]), assert_quick)


def assert_quick(outcome: Outcome) -> None:
    """The failures took no time; from a node to itself, where the kernel holds no refusal back."""
    outcome.assert_none_answered()
    if outcome.seconds / outcome.count >= QUICKLY:
        raise Unmet(expected=f"refusals in less than {QUICKLY:g} s each", seen=str(outcome))


@pytest.mark.behaviour("evicted-pods-refused")
def test_evicted_pod_is_no_endpoint(
    stage: Stage, everywhere: Everywhere, refused: Refused, rulebook: Rulebook
) -> None:
    """The kubelet evicts a pod that fills its disk; not even publishNotReadyAddresses keeps it."""
    labels = {"app": "evicted"}
    pod = stage.pod(labels, client=True, limits={"ephemeral-storage": "1Mi"})
    service = stage.service(labels, type="NodePort", publishNotReadyAddresses=True)
    stage.settle(service, [pod])
    (port,) = service.ports.values()
    check(everywhere.ask(port), lambda one: one.assert_all_answered(by={pod}))
    stage.client(pod).run("head -c 8M /dev/urandom >/tmp/fat", timeout=30)
    wait_until(
        f"the kubelet to evict {pod}",
        lambda: evicted(stage, pod),
        timeout=POD_START,
        evidence=partial(stage.cluster.story, stage.namespace, pod),
    )
    wait_until(f"{pod} to leave the EndpointSlices", lambda: not service.endpoints(), timeout=POD_START)
    rulebook.settle()
    refused(port)


def evicted(stage: Stage, pod: str) -> bool:
    """Whether the pod has ended so."""
    status = stage.cluster.api.get(Pod, pod, namespace=stage.namespace).status
    return status is not None and (status.phase, status.reason) == ("Failed", "Evicted")
