"""Any Services and endpoints, written down as a mode's dump, read back as what the slices ask for."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rendered import ADDRESSES, iptables, ipvs
from rendered_nft import nftables

from lab import proxy
from lab.proxy.compare import compare
from lab.proxy.iptables_chains import probability
from lab.proxy.slices import Node, expect

Json = dict[str, Any]
NODE = Node(name="node01", address="192.168.1.201", addresses=ADDRESSES, pod_cidr="10.244.0.0/16")
NODES = ("master", "node01", "node02")

names = st.from_regex(r"[a-z]([a-z0-9-]{0,10}[a-z0-9])?", fullmatch=True)
endpoints = st.lists(st.tuples(st.integers(0, 2), st.integers(2, 250)), unique=True, max_size=12)


@st.composite
def clusters(draw: st.DrawFn) -> tuple[list[Json], list[Json]]:
    """Services with ClusterIPs and NodePorts, and their slices."""
    services: list[Json] = []
    slices: list[Json] = []
    for number, name in enumerate(draw(st.lists(names, unique=True, min_size=1, max_size=4))):
        ports, ends = [], []
        for place, protocol in enumerate(
            draw(st.lists(st.sampled_from(["TCP", "UDP", "SCTP"]), min_size=1, max_size=3))
        ):
            port: Json = {"name": f"p{place}", "port": 80 + place, "protocol": protocol}
            if draw(st.booleans()):
                port["nodePort"] = 30000 + 10 * number + place
            ports.append(port)
            ends.append({"name": f"p{place}", "port": draw(st.integers(1, 65535)), "protocol": protocol})
        spec: Json = {"type": "NodePort", "clusterIPs": [f"10.96.{number}.1"], "ports": ports}
        if draw(st.booleans()):
            spec["sessionAffinity"] = "ClientIP"
            spec["sessionAffinityConfig"] = {"clientIP": {"timeoutSeconds": draw(st.integers(1, 86400))}}
        metadata: Json = {"name": name, "namespace": draw(names)}
        services.append({"metadata": metadata, "spec": spec})
        found = [
            {"addresses": [f"10.244.{node}.{host}"], "nodeName": NODES[node], "conditions": {"ready": True}}
            for node, host in draw(endpoints)
        ]
        labels: Json = {"kubernetes.io/service-name": name}
        slices.append(
            {
                "metadata": {**metadata, "labels": labels},
                "addressType": "IPv4",
                "ports": ends,
                "endpoints": found,
            }
        )
    return services, slices


def check(mode: str, cluster: tuple[list[Json], list[Json]], texts: dict[str, str]) -> None:
    found = compare(expect(mode, *cluster, NODE), proxy.read(mode, texts))
    assert not found, "\n".join(map(str, found))


@settings(max_examples=40, deadline=None)
@given(clusters())
def test_iptables(cluster: tuple[list[Json], list[Json]]) -> None:
    check("iptables", cluster, iptables(expect("iptables", *cluster, NODE)))


@settings(max_examples=40, deadline=None)
@given(clusters())
def test_ipvs(cluster: tuple[list[Json], list[Json]]) -> None:
    check("ipvs", cluster, ipvs(expect("ipvs", *cluster, NODE)))


@pytest.mark.parametrize("old", [False, True], ids=["1.37", "1.34"])
@settings(max_examples=40, deadline=None)
@given(cluster=clusters())
def test_nftables(old: bool, cluster: tuple[list[Json], list[Json]]) -> None:
    check("nftables", cluster, nftables(expect("nftables", *cluster, NODE), old=old))


@given(st.integers(1, 5000))
def test_probabilities_come_back_exact(endpoints: int) -> None:
    written = float(f"{1 / endpoints:.10f}")
    printed = f"{round(written * 2**31) / 2**31:.11f}"
    assert probability(printed) == Fraction(1, endpoints)


@pytest.mark.parametrize("printed", ["0.33340000000", "0.30000000019", "0.0000003"])
def test_other_probabilities_are_not_mended(printed: str) -> None:
    assert abs(probability(printed) - Fraction(printed)) < Fraction(1, 10**8)
    assert probability(printed) != Fraction(1, 3)
