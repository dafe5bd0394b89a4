"""Two modes of a real run held against each other, as they were and with one thing changed."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import captured_run
import pytest
from captured_run import cell

from lab.migrate import services
from lab.migrate.compare import compare
from lab.migrate.model import Change, Comparison, Concerned
from lab.migrate.services import OwnService
from lab.report import build, model

WEB = OwnService("default/web", {"ClusterIP": "ClusterIP 10.96.0.9", "nodePort": "nodePort 30000"})
INNER = OwnService("shop/inner", {"ClusterIP": "ClusterIP 10.96.0.8"})
NODES = ("master", "node01", "node02")
ON_LOOPBACK, SECOND = "NodePort on 127.0.0.1", "NodePort on another address of the node"


@pytest.fixture
def conformance(of_suites: Callable[[str], ModuleType]) -> ModuleType:
    """What the suites declare."""
    return of_suites("declared")


def compared(report: model.Report) -> Comparison:
    return compare(report, "iptables", "nftables", [WEB, INNER])


def named(found: Comparison, what: str) -> list[Change]:
    return [change for change in found.changes if change.what == what]


def test_a_real_migration_differs_as_declared() -> None:
    found = compared(captured_run.report())

    assert all(change.declared for change in found.changes)
    seen = {change.what: (change.before.seen, change.after.seen) for change in found.changes}
    assert seen == {
        ON_LOOPBACK: ("answers", "refused"),
        SECOND: ("answers", "refused"),
        "ClusterIP, port of no Service": ("no answer", "refused"),
        "ping of a ClusterIP": ("no answer", "refused"),
    }
    assert found.complete
    assert (found.failures, found.one_sided) == ((), ())
    report = captured_run.report()
    assert found.passed == len(report.results) / 2
    assert found.alike + sum(len(change.clients) for change in found.changes) == len(report.truth) / 2


def test_clients_that_saw_the_same_are_one_change_with_the_reasons_of_both_modes() -> None:
    (change,) = named(compared(captured_run.report()), SECOND)

    assert change.clients == NODES
    assert (change.before.mode, change.after.mode) == ("iptables", "nftables")
    assert (change.before.source, change.after.source) == (
        "nodePortAddresses: all by default",
        "nodePortAddresses: primary by default",
    )
    assert change.services == (Concerned(service="default/web", because="nodePort 30000"),)


def test_what_must_be_alike_and_differs_is_undeclared_and_comes_first() -> None:
    change = cell("nftables", "ClusterIP", "node02", seen="refused", outcome="failed", message="no")
    found = compared(captured_run.report(change))

    first = found.changes[0]
    assert (first.what, first.clients, first.declared) == ("ClusterIP", ("node02",), False)
    assert [one.service for one in first.services] == ["default/web", "shop/inner"]
    (failure,) = found.failures
    assert (failure.node, failure.before, failure.after, failure.message) == (
        "node02",
        "passed",
        "failed",
        "no",
    )


def test_two_values_of_one_declared_behaviour_are_undeclared_where_both_modes_promise_the_same() -> None:
    """Also where the tests passed: an expectation that several outcomes meet does not excuse a change."""
    change = cell("nftables", "ClusterIP, no endpoints", "pod", seen="no answer")
    found = compared(captured_run.report(change))

    assert [one.declared for one in named(found, "ClusterIP, no endpoints")] == [False]


def test_a_difference_in_another_way_than_declared_is_undeclared() -> None:
    change = cell("nftables", SECOND, "node01", seen="no answer", outcome="failed")
    found = named(compared(captured_run.report(change)), SECOND)

    assert [(one.clients, one.declared) for one in found] == [
        (("node01",), False),
        (("master", "node02"), True),
    ]


def test_what_is_only_recorded_may_differ() -> None:
    ping = "ping of a ClusterIP"
    before = next(
        one.seen for one in captured_run.report().truth if one.target == ping and one.mode == "iptables"
    )
    change = cell("nftables", ping, "pod", seen="refused" if before == "answers" else "answers")
    found = named(compared(captured_run.report(change)), ping)

    assert found
    assert all(one.declared for one in found)


def test_what_is_alike_is_no_change_though_it_failed_in_both() -> None:
    def change(event: captured_run.Event) -> None:
        for mode in ("iptables", "nftables"):
            cell(mode, "ClusterIP", "pod", seen="refused", outcome="failed", message="no")(event)

    found = compared(captured_run.report(change))

    assert named(found, "ClusterIP") == []
    assert [(one.before, one.after) for one in found.failures] == [("failed", "failed")]


def test_what_was_skipped_in_one_mode_is_told_with_its_reason() -> None:
    change = cell(
        "iptables", "choice of the backend", "node01", outcome="skipped", message="takes no turns", seen=""
    )
    found = compared(captured_run.report(change))

    (one,) = found.one_sided
    assert (one.node, one.mode, one.reason) == ("node01", "nftables", "takes no turns")
    assert named(found, "choice of the backend") == []
    assert found.failures == ()


def test_a_run_that_was_cut_off_is_not_complete_and_its_last_test_did_not_pass() -> None:
    events = captured_run.events()
    last = max(place for place, event in enumerate(events) if event["event"] == "start")
    found = compared(build.report(events[: last + 1]))

    assert not found.complete
    assert [one.after for one in found.failures] == ["unfinished"]


def test_every_declared_behaviour_concerns_some_services(conformance: ModuleType) -> None:
    declared = {entry.behaviour for entry in conformance.DECLARED}

    assert declared - set(services.CONCERNS) == set()
    assert set(services.CONCERNS) - declared == set()
