"""What the suites show of a failure: the rules of its addresses, from a real node's dumps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

TESTS = Path(__file__).parents[2]
DUMPS = TESTS / "unit/proxy/dumps/lab"
CLUSTER_IP = "10.106.254.130"


@pytest.fixture
def chain(of_suites: Callable[[str], ModuleType]) -> ModuleType:
    return of_suites("chain")


@pytest.fixture
def truth(of_suites: Callable[[str], ModuleType]) -> ModuleType:
    return of_suites("truth")


def texts(mode: str) -> dict[str, str]:
    return {file.name: file.read_text() for file in (DUMPS / mode / "node01").iterdir()}


@pytest.mark.parametrize(("mode", "last"), [("iptables", "--to-destination 10.244."), ("nftables", "numgen")])
def test_the_chain_leads_from_the_address_to_the_pods(chain: ModuleType, mode: str, last: str) -> None:
    said = chain.rules(mode, texts(mode), [(CLUSTER_IP, 80)]).splitlines()
    assert said[0].startswith(f"# {CLUSTER_IP}:80/TCP default/mytest-svc (cluster) → 10.244.")
    assert CLUSTER_IP in said[1]
    assert last in said[-1]


def test_an_address_without_a_rule_is_said_to_have_none(chain: ModuleType) -> None:
    said = chain.rules("iptables", texts("iptables"), [("10.96.0.99", 80), ("", 31999)])
    assert said == "# 10.96.0.99:80: no rule\n\n# this node:31999: no rule"


def test_rules_that_cannot_be_read_do_not_hide_the_failure(chain: ModuleType) -> None:
    assert "does not understand" in chain.rules(
        "nftables", {**texts("nftables"), "nft": "{"}, [(CLUSTER_IP, 80)]
    )


def test_addresses_are_found_in_what_the_failure_says(chain: ModuleType) -> None:
    said = "node01 → http://10.96.0.20:80: 0 of 3; http://192.168.1.202:30080 and 10.96.0.20:80 again"
    assert chain.wanted([], said) == [("10.96.0.20", 80), ("192.168.1.202", 30080)]


@pytest.mark.parametrize("mode", ["iptables", "ipvs", "nftables"])
def test_every_cell_of_the_truth_table_is_declared(truth: ModuleType, mode: str) -> None:
    cells = truth.table(["master", "node01"])
    expected = {str(cell): cell.target.expected(mode=mode, version="1.37.2") for cell in cells}
    assert len(expected) == len(cells)
    assert set(expected.values()) <= {"answers", "refused", "no answer"}
    assert expected["node01-NodePort-on-127.0.0.1"] == ("answers" if mode == "iptables" else "refused")
    assert "pod-NodePort-on-127.0.0.1" not in expected
    assert "outside-ClusterIP" not in expected


def test_what_was_seen_is_told_in_the_tables_words(truth: ModuleType) -> None:
    assert truth.told(3, {}) == "answers"
    assert truth.told(0, {"timeout": 2}) == "no answer"
    assert truth.told(2, {"refused": 1}) == "answers, refused"
