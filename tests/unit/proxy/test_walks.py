"""Walks through captured and generated rules, rule by rule, end where the readers' model says they do."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given, settings
from made_clusters import NODE, Json, clusters
from proxy_dumps import POD_CIDR, outputs
from rendered import iptables, ipvs
from rendered_nft import nftables

from lab import proxy
from lab.explain.course import Course, course
from lab.explain.walk import Client, Outcome, Walk
from lab.proxy import Frontend, Kind, Masquerade, NodeRules, Refusal, ServiceRules, UnrecognisedRule
from lab.proxy.node import Node
from lab.proxy.slices import expect

HERE = Client("node01", "192.168.1.201", local=True)
POD = Client("a pod", "10.244.1.99", pod=True)
OUTSIDE = Client("outside", "203.0.113.9")
CLIENTS = (HERE, POD, OUTSIDE)
RUNS = [
    ("iptables", "switched/iptables"),
    ("ipvs", "rich/ipvs"),
    ("ipvs", "rich/ipvs-mh"),
    ("nftables", "rich/nftables"),
    ("nftables", "rich/nftables-options"),
    ("nftables", "rich/nftables-masquerade-all"),
    ("nftables", "switched/nftables-all-addresses"),
    *((mode, f"lab/{mode}/node01") for mode in ("iptables", "nftables")),
]


def ways(mode: str, run: str) -> tuple[Course, NodeRules]:
    texts = outputs(run)
    node = Node.of("node01", texts["ip-addr"], address="192.168.1.201", pod_cidr=POD_CIDR)
    return course(mode, texts, node), proxy.read(mode, texts)


def walked(way: Course, front: Frontend, *clients: Client) -> Walk:
    return way.walk(front, Kind.CLUSTER, "", clients)


def inside(client: Client, rules: ServiceRules, pods: str | None) -> bool:
    return rules.inside_backends is not None and (client.local or (client.pod and pods is not None))


def wanted(rules: ServiceRules, client: Client, pods: str | None) -> dict[tuple[str, int], Fraction]:
    """Endpoint to share, as the model has it."""
    if shut_out(rules, client):
        return {}
    backends = rules.inside_backends if inside(client, rules, pods) else rules.backends
    return {backend.endpoint: backend.weight for backend in backends or ()}


def shut_out(rules: ServiceRules, client: Client) -> bool:
    return rules.source_ranges is not None and not any(map(client.within, rules.source_ranges))


def masqueraded(rules: ServiceRules, client: Client) -> bool:
    return {
        Masquerade.NEVER: False,
        Masquerade.OUTSIDE: not client.pod,
        Masquerade.NODE: client.local,
        Masquerade.ALWAYS: True,
    }[rules.masquerade]


def how_refused(
    mode: str, rules: ServiceRules, client: Client, front: Frontend, own: frozenset[str]
) -> Refusal | None:
    """How a connection without endpoints is refused."""
    if shut_out(rules, client) and (mode != "iptables" or rules.backends):
        return Refusal.DROP
    # iptables mode refuses addresses from outside in INPUT and FORWARD: the node's own connections to an
    # address that is not its own pass neither, and leave.
    external = rules.kind in (Kind.EXTERNAL, Kind.LOADBALANCER)
    if mode == "iptables" and client.local and external and front.ip not in own:
        return None
    return rules.refusal


@pytest.mark.parametrize(("mode", "run"), RUNS)
def test_every_walk_ends_where_the_rules_say(mode: str, run: str) -> None:
    way, rules = ways(mode, run)
    assert len(rules.services) >= 5
    for front, known in rules.services.items():
        for outcome in walked(way, front, *CLIENTS).outcomes:
            who = outcome.client
            want = wanted(known, who, rules.local_pods)
            assert dict(outcome.ends) == want, (front, who)
            if want:
                # From a pod network's address of its own, a node is taken for one of the pods.
                if not (who.local and who.within(POD_CIDR)):
                    assert bool(outcome.masqueraded) is masqueraded(known, who), (front, who)
                assert not outcome.refused
                assert outcome.sticky == known.affinity
            else:
                how = how_refused(mode, known, who, front, way.own)
                assert set(outcome.refused) == ({how} if how else set()), (front, who)


@pytest.mark.parametrize(("mode", "run"), RUNS)
def test_every_step_has_words_and_its_rule(mode: str, run: str) -> None:
    way, rules = ways(mode, run)
    for front in rules.services:
        walk = walked(way, front, *CLIENTS)
        assert all(step.words and step.rule and step.chain for step in walk.steps), front
        # What rules take never adds up to more than there is.
        assert all(share <= 1 for step in walk.steps for share in step.shares.values())


def sole(walk: Walk) -> Outcome:
    (outcome,) = walk.outcomes
    return outcome


MYTEST = {"iptables": "10.103.54.151", "ipvs": "10.96.180.2", "nftables": "10.96.180.2"}


@pytest.mark.parametrize(("mode", "run"), [RUNS[0], RUNS[1], RUNS[3]])
def test_a_pod_that_reaches_itself_is_masqueraded(mode: str, run: str) -> None:
    way, _ = ways(mode, run)
    pod = Client("pod", "10.244.1.2", pod=True)
    outcome = sole(walked(way, Frontend(MYTEST[mode], 80, "TCP"), pod))
    assert len(outcome.ends) == 3
    assert outcome.masqueraded == {("10.244.1.2", 8080)}


def test_counters_are_those_of_the_rules() -> None:
    texts = outputs("switched/iptables")
    number = iter(range(1, 10_000))
    counted = re.sub(r"(?m)^-A ", lambda _: f"[{next(number)}:60] -A ", texts["iptables-save"])
    node = Node.of("node01", texts["ip-addr"], address="192.168.1.201", pod_cidr=POD_CIDR)
    way = course("iptables", {**texts, "iptables-save": counted}, node)
    steps = walked(way, Frontend("10.103.54.151", 80, "TCP"), OUTSIDE).steps
    assert len({step.packets for step in steps}) == len(steps)
    assert all(f"[{step.packets}:60] {step.rule}" in counted for step in steps)


def test_without_its_mark_a_masquerade_is_none() -> None:
    """The walk follows the mark, not what the chain is called."""
    texts = outputs("switched/iptables")
    unmarked = texts["iptables-save"].replace("-j MARK --set-xmark 0x4000/0x4000", "-j RETURN")
    assert unmarked != texts["iptables-save"]
    node = Node.of("node01", texts["ip-addr"], address="192.168.1.201", pod_cidr=POD_CIDR)
    front = Frontend("192.168.1.201", 30000, "TCP")
    with_mark = sole(walked(ways("iptables", "switched/iptables")[0], front, OUTSIDE))
    without = sole(walked(course("iptables", {**texts, "iptables-save": unmarked}, node), front, OUTSIDE))
    assert len(with_mark.masqueraded) == 3
    assert not without.masqueraded


@pytest.mark.parametrize(
    ("mode", "dump", "old", "new"),
    [
        (
            "iptables",
            "iptables-save",
            "-m statistic --mode random",
            "-m limit --limit 5/sec -m statistic --mode random",
        ),
        ("nftables", "nft", '{"goto": {"target": "service-', '{"queue": {"num": "'),
    ],
)
def test_an_unknown_rule_on_the_way_is_an_error(mode: str, dump: str, old: str, new: str) -> None:
    run = dict(RUNS[3:4] + RUNS[:1])[mode]
    texts = outputs(run)
    assert old in texts[dump]
    node = Node.of("node01", texts["ip-addr"], address="192.168.1.201", pod_cidr=POD_CIDR)
    changed = {**texts, dump: texts[dump].replace(old, new)}
    with pytest.raises(UnrecognisedRule):
        walked(course(mode, changed, node), Frontend("192.168.1.201", 30000, "TCP"), OUTSIDE)


def test_what_no_rule_is_about_is_passed_on() -> None:
    for mode, run in RUNS[:1] + RUNS[3:4]:
        outcome = sole(walked(ways(mode, run)[0], Frontend("192.0.2.1", 80, "TCP"), OUTSIDE))
        assert outcome.passed == 1
        assert not outcome.ends
        assert not outcome.refused


def test_a_closed_port_of_a_cluster_ip_is_refused_by_nftables() -> None:
    way, _ = ways("nftables", "switched/nftables-all-addresses")
    assert dict(sole(walked(way, Frontend("10.96.0.1", 9999, "TCP"), OUTSIDE)).refused) == {Refusal.REJECT: 1}


RENDERED: dict[str, Callable[[NodeRules], dict[str, str]]] = {
    "iptables": iptables,
    "ipvs": ipvs,
    "nftables": nftables,
}


@pytest.mark.parametrize("mode", RENDERED)
@settings(max_examples=25, deadline=None)
@given(cluster=clusters())
def test_any_cluster(mode: str, cluster: tuple[list[Json], list[Json]]) -> None:
    rules = expect(mode, *cluster, NODE)
    way = course(mode, RENDERED[mode](rules), replace(NODE, bound=tuple(rules.bound_addresses)))
    for front, known in rules.services.items():
        if known.kind is Kind.NODEPORT and front.ip != "192.168.1.201":
            continue
        outcome = sole(walked(way, front, OUTSIDE))
        assert dict(outcome.ends) == {backend.endpoint: backend.weight for backend in known.backends}
        assert set(outcome.refused) == ({known.refusal} if known.refusal else set())
        assert outcome.sticky == (known.affinity if known.backends else None)
