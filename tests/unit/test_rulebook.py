"""Waiting until all nodes have programmed what the API says, and what is read for it."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest


@pytest.fixture
def suites(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The modules, with a clock that goes on only while something waits."""
    monkeypatch.syspath_prepend(Path(__file__).parents[1])
    rulebook, waiting = (importlib.import_module(f"conformance.{name}") for name in ("rulebook", "waiting"))
    now, slept = [0.0], []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        now[0] += seconds

    monkeypatch.setattr(waiting, "time", SimpleNamespace(monotonic=lambda: now[0], sleep=sleep))
    monkeypatch.setattr(rulebook, "time", SimpleNamespace(monotonic=lambda: now[0]))
    return SimpleNamespace(rulebook=rulebook, waiting=waiting, now=now, slept=slept)


class Cluster:
    """Nodes that come to agree at a reading of their own, and objects that change at one."""

    def __init__(self, suites: SimpleNamespace, behind: dict[str, int], objects: list[str]) -> None:
        self.behind, self.said = dict(behind), objects
        self.read: list[tuple[str, ...]] = []
        nodes = tuple(SimpleNamespace(name=name) for name in behind)

        class Book(suites.rulebook.Rulebook):  # type: ignore[misc, name-defined]
            def objects(book) -> Any:  # noqa: N805
                return self.said.pop(0) if len(self.said) > 1 else self.said[0]

            def disagreements(book, _objects: object, nodes: Iterable[Any]) -> dict[str, list[str]]:  # noqa: N805
                names = tuple(node.name for node in nodes)
                self.read.append(names)
                for name in names:
                    self.behind[name] -= 1
                return {name: ["late"] for name in names if self.behind[name] >= 0}

        self.book = Book(None, None, nodes, "iptables")


def test_a_node_that_agrees_is_not_read_again(suites: SimpleNamespace) -> None:
    cluster = Cluster(suites, {"master": 0, "node01": 2, "node02": 1}, ["a"])
    cluster.book.settle()
    assert cluster.read == [("master", "node01", "node02"), ("node01", "node02"), ("node01",)]


def test_every_node_is_read_again_once_the_api_says_otherwise(suites: SimpleNamespace) -> None:
    cluster = Cluster(suites, {"master": 0, "node01": 2}, ["a", "a", "b"])
    cluster.book.settle()
    assert cluster.read == [("master", "node01"), ("node01",), ("master", "node01")]


def test_a_node_that_stays_behind_is_told(suites: SimpleNamespace) -> None:
    cluster = Cluster(suites, {"master": 0, "node01": 10_000}, ["a"])
    with pytest.raises(pytest.fail.Exception, match="rules still differ:\nlate"):
        cluster.book.settle()
    assert suites.now[0] < suites.rulebook.SETTLED


def test_a_reading_that_takes_long_is_not_begun_again_at_once(suites: SimpleNamespace) -> None:
    took = iter([0.1, 2.0, 0.0])

    def check() -> bool:
        seconds = next(took)
        suites.now[0] += seconds
        return not seconds

    suites.waiting.wait_until("it", check, timeout=60)
    assert suites.slept == [0.3, 2.0]
