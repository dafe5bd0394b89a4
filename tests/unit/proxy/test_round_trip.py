"""Any Services and endpoints, written down as a mode's dump, read back as what the slices ask for."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_clusters import NODE, Json, clusters
from rendered import iptables, ipvs
from rendered_nft import nftables

from lab import proxy
from lab.proxy.compare import compare
from lab.proxy.iptables_chains import probability
from lab.proxy.slices import expect


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
