from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest

from lab.proxy import Backend, Frontend, Kind, Masquerade, NodeRules, Refusal, ServiceRules
from lab.proxy.compare import compare

FRONT = Frontend("10.96.0.9", 80, "TCP")
BACKENDS = (Backend("10.244.1.2", 8080, Fraction(1, 2)), Backend("10.244.2.2", 8080, Fraction(1, 2)))
RULES = ServiceRules(
    kind=Kind.CLUSTER,
    service="default/mytest-svc",
    backends=BACKENDS,
    policy="Cluster",
    masquerade=Masquerade.OUTSIDE,
    hairpin=frozenset({("10.244.1.2", 8080)}),
    source_ranges=("10.0.0.0/9", "10.128.0.0/9"),
    raw=("rule 1", "rule 2", "rule 3", "rule 4", "rule 5"),
)
NODE = NodeRules(mode="iptables", services={FRONT: RULES}, local_pods="10.244.0.0/16")


def layers(have: NodeRules, want: NodeRules = NODE) -> list[str]:
    return [difference.layer for difference in compare(want, have, node="node01")]


def seen(**changes: Any) -> NodeRules:
    return replace(NODE, services={FRONT: replace(RULES, **changes)})


def test_equal() -> None:
    assert compare(NODE, NODE) == []


@pytest.mark.parametrize(
    ("changes", "layer"),
    [
        ({"backends": BACKENDS[:1]}, "backends"),
        ({"backends": (replace(BACKENDS[0], weight=Fraction(1, 3)), BACKENDS[1])}, "backends"),
        ({"inside_backends": BACKENDS}, "inside_backends"),
        ({"kind": Kind.NODEPORT}, "kind"),
        ({"service": "default/other"}, "service"),
        ({"policy": "Local"}, "policy"),
        ({"scheduler": "rr"}, "scheduler"),
        ({"masquerade": Masquerade.NEVER}, "masquerade"),
        ({"affinity": 300}, "affinity"),
        ({"refusal": Refusal.DROP}, "refusal"),
        ({"blocks_node": True}, "blocks_node"),
        ({"hairpin": frozenset()}, "hairpin"),
        ({"source_ranges": ("10.0.0.0/9",)}, "source_ranges"),
        ({"source_ranges": None}, "source_ranges"),
    ],
)
def test_each_field(changes: dict[str, Any], layer: str) -> None:
    assert layers(seen(**changes)) == [layer]


@pytest.mark.parametrize(
    "changes",
    [
        {"service": None},
        {"policy": None},
        {"hairpin": RULES.endpoints},
        {"source_ranges": ("10.0.0.0/8",)},
        {"source_ranges": ("10.0.0.0-10.255.255.255",)},
        {"draining": frozenset({("10.244.1.9", 8080)})},
        {"raw": ()},
    ],
)
def test_what_is_no_difference(changes: dict[str, Any]) -> None:
    assert layers(seen(**changes)) == []


def test_external_and_load_balancer_rules_may_look_alike() -> None:
    want = replace(NODE, services={FRONT: replace(RULES, kind=Kind.LOADBALANCER)})
    assert layers(seen(kind=Kind.EXTERNAL), want) == []


def test_missing_and_unexpected() -> None:
    other = Frontend("10.96.0.10", 80, "TCP")
    found = compare(NODE, replace(NODE, services={other: RULES}), node="node01")
    assert [(difference.frontend, difference.layer, difference.seen) for difference in found] == [
        (FRONT, "frontend", "nothing there"),
        (other, "frontend", "cluster to 10.244.1.2:8080 (1/2), 10.244.2.2:8080 (1/2)"),
    ]
    assert {difference.service for difference in found} == {"default/mytest-svc"}


def test_refusing_localhost_is_not_serving_it() -> None:
    refused = ServiceRules(kind=Kind.NODEPORT, refusal=Refusal.REJECT)
    local = {**NODE.services, Frontend("127.0.0.1", 30000, "TCP"): refused}
    assert layers(replace(NODE, services=local)) == []
    public = {**NODE.services, Frontend("192.168.1.201", 30000, "TCP"): refused}
    assert layers(replace(NODE, services=public)) == ["frontend"]


@pytest.mark.parametrize(
    ("changes", "layer"),
    [
        ({"mode": "ipvs"}, "mode"),
        ({"faults": ("nat PREROUTING does not jump to KUBE-SERVICES",)}, "faults"),
        ({"cluster_ips": frozenset({"10.96.0.1"})}, "cluster_ips"),
        ({"bound_addresses": frozenset({"10.96.0.1"})}, "bound_addresses"),
        ({"health_check_ports": frozenset({32001})}, "health_check_ports"),
        ({"local_pods": "10.0.0.0/8"}, "local_pods"),
    ],
)
def test_the_node_as_a_whole(changes: dict[str, Any], layer: str) -> None:
    assert layers(replace(NODE, **changes)) == [layer]


def test_addresses_of_the_node_differ_one_by_one() -> None:
    expected = replace(NODE, bound_addresses=frozenset({"10.96.0.1", "10.96.0.2"}))
    other = replace(NODE, bound_addresses=frozenset({"10.96.0.2", "10.96.0.3"}))
    found = compare(expected, other, node="node02")
    assert [(one.expected, one.seen) for one in found] == [
        ("10.96.0.1", "not there"),
        ("not there", "10.96.0.3"),
    ]
    assert len({one.about for one in found}) == 2


def test_a_service_that_differs_in_two_ways_is_one_thing() -> None:
    first, second = compare(NODE, seen(backends=BACKENDS[:1], refusal=Refusal.REJECT), node="node02")
    assert first.about == second.about
    assert first.about != replace(first, node="node01").about


def test_service_cidrs_are_compared_if_given() -> None:
    guarded = replace(NODE, dropped_cidrs=("10.96.0.0/12",))
    assert layers(NODE, guarded) == ["dropped_cidrs"]
    assert layers(guarded, NODE) == []


def test_the_message_names_everything() -> None:
    (difference,) = compare(NODE, seen(backends=BACKENDS[:1]), node="node02")
    assert str(difference) == (
        "node02 iptables: default/mytest-svc 10.96.0.9:80/TCP backends: "
        "expected 10.244.1.2:8080 (1/2), 10.244.2.2:8080 (1/2), seen 10.244.1.2:8080 (1/2); "
        "in: rule 1 | rule 2 | rule 3 | rule 4 (and 1 more rules)"
    )
