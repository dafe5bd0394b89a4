"""The truth table's rows: clients that see the same are together, and a fault stands out."""

from __future__ import annotations

from typing import get_args

from lab.report.model import Outcome, Reach
from lab.report.table import rows, text


def cell(client: str, target: str, mode: str, expected: str, seen: str) -> Reach:
    passed, failed, *_ = get_args(Outcome)
    outcome = passed if seen == expected else failed
    return Reach(client=client, target=target, mode=mode, expected=expected, seen=seen, outcome=outcome)


LOOPBACK = [
    cell(client, "NodePort on 127.0.0.1", mode, expected, expected)
    for mode, expected in (("iptables", "answers"), ("nftables", "refused"))
    for client in ("pod", "worker", "node01")
]


def test_clients_that_see_the_same_share_a_row_the_nodes_first() -> None:
    (row,) = rows(LOOPBACK)
    assert row.clients == ("worker", "node01", "pod")
    assert {mode: found.seen for mode, found in row.cells.items()} == {
        "iptables": "answers",
        "nftables": "refused",
    }


def test_a_client_that_sees_something_else_has_a_row_of_its_own() -> None:
    wrong = cell("node01", "NodePort on 127.0.0.1", "nftables", "refused", "answers")
    found = rows([wrong if (r.client, r.mode) == ("node01", "nftables") else r for r in LOOPBACK])
    assert [row.clients for row in found] == [("worker", "pod"), ("node01",)]


def test_the_terminal_shows_expected_and_seen_of_each_mode() -> None:
    wrong = cell("outside", "NodePort", "iptables", "answers", "")
    columns, lines = text([*LOOPBACK, wrong], ["iptables", "nftables"])
    assert columns == [
        "client",
        "target",
        "iptables: expected",
        "iptables: seen",
        "nftables: expected",
        "nftables: seen",
    ]
    assert lines == [
        ["worker, node01, pod", "NodePort on 127.0.0.1", "answers", "answers", "refused", "refused"],
        ["outside", "NodePort", "answers", "✗ failed", "", ""],
    ]
