"""Waiting until all nodes have programmed what the API says, and what is read for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from lab.proxy.compare import Difference
from lab.proxy.model import Frontend
from lab.verify.reconcile import SETTLE as PROGRAMMED


@pytest.fixture
def suites(of_suites: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The modules, with a clock that goes on only while something waits."""
    rulebook, waiting = of_suites("rulebook"), of_suites("waiting")
    now, slept = [0.0], []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        now[0] += seconds

    monkeypatch.setattr(waiting, "time", SimpleNamespace(monotonic=lambda: now[0], sleep=sleep))
    monkeypatch.setattr(rulebook, "time", SimpleNamespace(monotonic=lambda: now[0]))
    return SimpleNamespace(rulebook=rulebook, waiting=waiting, now=now, slept=slept)


def difference(node: str, ip: str, seen: str) -> Difference:
    """Of a frontend with this address; `-`: of a node without rules."""
    front, layer = (None, "faults") if ip == "-" else (Frontend(ip, 80, "TCP"), "backends")
    return Difference(
        node=node, mode="iptables", service=None, frontend=front, layer=layer, expected="it", seen=seen
    )


class Cluster:
    """An API and nodes that say, at each reading, the next of what they are given, and then the last."""

    def __init__(
        self, suites: SimpleNamespace, nodes: dict[str, list[list[str]]], objects: Sequence[str] = ("a",)
    ) -> None:
        """`nodes`: by node and reading, the addresses where rules and API differ."""
        self.said, self.differ = list(objects), {name: list(all_of) for name, all_of in nodes.items()}
        self.read: list[tuple[str, ...]] = []
        named = tuple(SimpleNamespace(name=name) for name in nodes)

        class Book(suites.rulebook.Rulebook):  # type: ignore[misc, name-defined]
            def objects(book) -> Any:  # noqa: N805
                return following(self.said)

            def disagreements(book, _objects: object, nodes: Iterable[Any]) -> list[Difference]:  # noqa: N805
                names = tuple(node.name for node in nodes)
                self.read.append(names)
                seen = f"reading {len(self.read)}"
                return [difference(name, ip, seen) for name in names for ip in following(self.differ[name])]

        self.book = Book(None, None, named, "iptables")


def following(given: list[Any]) -> Any:
    return given.pop(0) if len(given) > 1 else given[0]


def test_a_node_that_agrees_is_not_read_again(suites: SimpleNamespace) -> None:
    nodes: dict[str, list[list[str]]]
    nodes = {"master": [[]], "node01": [["10.0.0.1"], ["10.0.0.1"], []], "node02": [["10.0.0.1"], []]}
    cluster = Cluster(suites, nodes)
    cluster.book.settle()
    assert cluster.read == [("master", "node01", "node02"), ("node01", "node02"), ("node01",)]


def test_what_others_change_meanwhile_is_not_waited_for(suites: SimpleNamespace) -> None:
    """10.0.0.1 is settled in the second reading, 10.0.0.2 in the third; nobody asked for 10.0.0.3."""
    nodes = {"node01": [["10.0.0.1", "10.0.0.2"], ["10.0.0.2", "10.0.0.3"], ["10.0.0.1", "10.0.0.3"], []]}
    cluster = Cluster(suites, nodes, ["a", "b", "c"])
    cluster.book.settle()
    assert len(cluster.read) == 3


def test_what_differs_in_another_way_is_waited_for_still(suites: SimpleNamespace) -> None:
    cluster = Cluster(suites, {"node01": [["10.0.0.1"], ["10.0.0.1"], []]}, ["a", "b"])
    cluster.book.settle()
    assert len(cluster.read) == 3


def test_a_dump_that_failed_settles_nothing(suites: SimpleNamespace) -> None:
    """What should be gone is not seen to be gone by a reading without any rules."""
    cluster = Cluster(suites, {"node01": [["10.0.0.1"], ["-"], ["10.0.0.1"], []]})
    cluster.book.settle()
    assert len(cluster.read) == 4


def test_a_node_that_stays_behind_is_told(suites: SimpleNamespace) -> None:
    cluster = Cluster(suites, {"master": [[]], "node01": [["10.0.0.1", "10.0.0.2"], ["10.0.0.2"]]})
    with pytest.raises(pytest.fail.Exception, match=r"still differ:\nnode01 iptables: 10.0.0.2:80/TCP .*$"):
        cluster.book.settle()
    assert PROGRAMMED["iptables"] < suites.now[0] < suites.rulebook.SETTLED


def test_a_reading_that_takes_long_is_not_begun_again_at_once(suites: SimpleNamespace) -> None:
    took = iter([0.1, 2.0, 0.0])

    def check() -> bool:
        seconds = next(took)
        suites.now[0] += seconds
        return not seconds

    suites.waiting.wait_until("it", check, timeout=60)
    assert suites.slept == [0.3, 2.0]
