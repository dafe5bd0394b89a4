"""A lab of user-mode nodes from beginning to end, as whoever runs the tests."""

from __future__ import annotations

import pytest
from harness import MakeLab
from raised import (
    Raised,
    assert_changes_nothing_again,
    assert_node_port_is_forwarded,
    assert_status_tells_the_nodes,
    assert_suites_pass,
    assert_the_users_kubectl_works,
    raise_lab,
)


@pytest.fixture(scope="module")
def raised(make_lab: MakeLab) -> Raised:
    return raise_lab(make_lab("uml"), "provider: uml\nnetwork: {plugin: flannel}\n")


@pytest.mark.timeout(500)
def test_up_prints_where_to_go_next(raised: Raised) -> None:
    said = raised.up.stdout
    assert "192.168.1.200" in said
    assert "kubeconfig: " in said
    assert "lab kubectl " in said
    assert "lab exec " in said
    assert "lab test " in said


def test_up_again_changes_nothing_and_says_so(raised: Raised) -> None:
    assert_changes_nothing_again(raised)


def test_status_as_json(raised: Raised) -> None:
    assert_status_tells_the_nodes(raised)


def test_the_users_own_kubectl_reaches_the_api_on_loopback(raised: Raised) -> None:
    assert_the_users_kubectl_works(raised)


def test_a_node_port_answers_on_loopback(raised: Raised) -> None:
    assert_node_port_is_forwarded(raised)


@pytest.mark.timeout(2000)
def test_suites_in_all_modes_by_live_switch(raised: Raised) -> None:
    assert_suites_pass(raised, {"iptables", "ipvs", "nftables"}, timeout=1900)
