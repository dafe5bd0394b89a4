"""Turns that ipvs counted, held against who answered."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import pytest


@pytest.fixture
def judge(of_suites: Callable[[str], ModuleType]) -> Callable[..., None]:
    turned, probing = of_suites("turns"), of_suites("probing")

    def go(answers: dict[str, int], turns: dict[str, int], resent: int) -> None:
        count = sum(answers.values())
        outcome = probing.Outcome("master", "http://10.96.0.20", count, answers, {}, 1.0)
        turned.assert_answered_by_turn(outcome, turns, resent=resent)

    return go


def test_every_turn_is_an_answer(judge: Callable[..., None]) -> None:
    judge({"a": 300, "b": 300}, {"a": 300, "b": 300}, 0)


def test_a_turn_may_be_lost_with_a_syn_that_was_sent_again(judge: Callable[..., None]) -> None:
    judge({"a": 299, "b": 301}, {"a": 300, "b": 301}, 1)


@pytest.mark.parametrize(
    ("answers", "turns", "resent"),
    [
        ({"a": 300, "b": 300}, {"a": 301, "b": 300}, 0),
        ({"a": 299, "b": 301}, {"a": 301, "b": 301}, 1),
        ({"a": 301, "b": 299}, {"a": 300, "b": 300}, 1),
        ({"a": 299, "b": 300, "c": 1}, {"a": 300, "b": 300}, 1),
    ],
    ids=["nothing sent again", "more than was sent again", "an answer without a turn", "a stranger"],
)
def test_any_other_difference_is_told(
    judge: Callable[..., None], answers: dict[str, int], turns: dict[str, int], resent: int
) -> None:
    with pytest.raises(AssertionError, match="ipvs itself counted"):
        judge(answers, turns, resent)
