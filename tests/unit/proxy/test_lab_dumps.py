"""Dumps of a lab's own three nodes, a mode a folder: the walk's Service as every node has it."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest
from proxy_dumps import FOLDER, POD_CIDR, objects, outputs

from lab import proxy
from lab.proxy import Frontend, Kind, Masquerade
from lab.proxy.compare import compare
from lab.proxy.residue import residue
from lab.proxy.slices import Node, expect

ADDRESSES = {"master": "192.168.1.200", "node01": "192.168.1.201", "node02": "192.168.1.202"}
MODES = sorted(folder.name for folder in Path(FOLDER, "lab").iterdir())


@pytest.mark.parametrize("node", ADDRESSES)
@pytest.mark.parametrize("mode", MODES)
def test_rules_equal_the_slices(mode: str, node: str) -> None:
    texts = outputs(f"lab/{mode}/{node}")
    seen_from = Node.of(node, texts["ip-addr"], address=ADDRESSES[node], pod_cidr=POD_CIDR)
    services, slices = objects(f"lab/{mode}", "services"), objects(f"lab/{mode}", "endpointslices")
    wanted = expect(mode, services, slices, seen_from, service_cidrs=["10.96.0.0/12"])
    found = compare(wanted, proxy.read(mode, texts), node=node)
    assert not found, "\n".join(map(str, found))
    assert residue(mode, texts) == []


@pytest.mark.parametrize("mode", MODES)
def test_every_node_has_the_same_backends(mode: str) -> None:
    everywhere = []
    for node in ADDRESSES:
        rules = proxy.read(mode, outputs(f"lab/{mode}/{node}"))
        (mytest,) = [
            seen
            for seen in rules.services.values()
            if seen.kind is Kind.CLUSTER and {port for _, port in seen.endpoints} == {8080}
        ]
        assert [backend.weight for backend in mytest.backends] == [Fraction(1, 3)] * 3
        assert mytest.masquerade is Masquerade.OUTSIDE
        everywhere.append(mytest.backends)
        assert rules.services[Frontend("10.96.0.1", 443, "TCP")].endpoints == {("192.168.1.200", 6443)}
        assert {Frontend("10.96.0.10", 53, "TCP"), Frontend("10.96.0.10", 53, "UDP")} <= set(rules.services)
    assert everywhere[0] == everywhere[1] == everywhere[2]
