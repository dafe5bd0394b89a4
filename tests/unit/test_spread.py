from __future__ import annotations

import math
import random
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.spread import ALPHA, SpreadError, Verdict, multinomial, round_robin

PODS = ("pod-a", "pod-b", "pod-c")


def test_three_even_backends() -> None:
    verdict = multinomial({"pod-a": 310, "pod-b": 295, "pod-c": 295}, expected=PODS)
    assert verdict.even
    assert verdict.expected == {"pod-a": 300, "pod-b": 300, "pod-c": 300}
    assert verdict.statistic == pytest.approx(0.5)
    assert verdict.critical == pytest.approx(27.631, abs=1e-3)  # df = 2, alpha = 1e-6
    assert verdict.p_value == pytest.approx(0.7788, abs=1e-4)


def test_a_cascade_that_was_not_renormalised() -> None:
    """Probabilities 1/3, 1/3, rest: shares 1/3, 2/9, 4/9."""
    verdict = multinomial({"pod-a": 300, "pod-b": 200, "pod-c": 400}, expected=PODS)
    assert not verdict.even
    assert "chance gives so uneven a spread" in str(verdict)


def test_shares_may_differ() -> None:
    shares = {"pod-a": Fraction(1, 4), "pod-b": Fraction(3, 4)}
    assert multinomial({"pod-a": 250, "pod-b": 750}, expected=shares).even
    assert not multinomial({"pod-a": 500, "pod-b": 500}, expected=shares).even


def test_alpha_is_shared_by_all_tests_of_a_run() -> None:
    one = multinomial(dict.fromkeys(PODS, 300), expected=PODS)
    twelve = multinomial(dict.fromkeys(PODS, 300), expected=PODS, tests=12)
    assert twelve.alpha == pytest.approx(ALPHA / 12)
    assert twelve.critical > one.critical


def test_a_backend_never_chosen() -> None:
    assert not multinomial({"pod-a": 450, "pod-b": 450}, expected=PODS).even


def test_failed_requests_count() -> None:
    verdict = multinomial(dict.fromkeys(PODS, 300), expected=PODS, failures=1)
    assert not verdict.even
    assert verdict.reasons == ("1 connections got no answer",)
    assert not round_robin(dict.fromkeys(PODS, 100), expected=PODS, failures=3).even


def test_a_stranger_answers() -> None:
    verdict = multinomial({**dict.fromkeys(PODS, 300), "pod-old": 1}, expected=PODS)
    assert verdict.reasons == ("1 answers from pod-old, which is no backend",)
    assert not round_robin({**dict.fromkeys(PODS, 100), "pod-old": 1}, expected=PODS).even


def test_one_backend_takes_all() -> None:
    assert multinomial({"pod-a": 900}, expected=["pod-a"]).even
    assert round_robin({"pod-a": 900}, expected=["pod-a"]).even


@pytest.mark.parametrize("seen", [{}, {"pod-a": 0}, {"pod-old": 5}])
def test_nothing_to_judge(seen: dict[str, int]) -> None:
    with pytest.raises(SpreadError, match="No answer"):
        multinomial(seen, expected=PODS)
    with pytest.raises(SpreadError, match="No answer"):
        round_robin(seen, expected=PODS)


def test_no_backends() -> None:
    with pytest.raises(SpreadError, match="No backend"):
        multinomial({"pod-a": 1}, expected=())
    with pytest.raises(SpreadError, match="No backend"):
        round_robin({"pod-a": 1}, expected=())


def test_too_few() -> None:
    with pytest.raises(SpreadError, match="Too few"):
        multinomial({"pod-a": 5, "pod-b": 5, "pod-c": 4}, expected=PODS)


@pytest.mark.parametrize("shares", [{"pod-a": Fraction(1, 2)}, {"pod-a": Fraction(2), "pod-b": Fraction(-1)}])
def test_shares_must_be_shares(shares: dict[str, Fraction]) -> None:
    with pytest.raises(SpreadError, match="shares"):
        multinomial({"pod-a": 900}, expected=shares)


def test_counts_must_be_counts() -> None:
    with pytest.raises(SpreadError, match="negative"):
        multinomial({"pod-a": -1, "pod-b": 900}, expected=["pod-a", "pod-b"])
    with pytest.raises(SpreadError, match="at least 1"):
        multinomial({"pod-a": 900}, expected=["pod-a"], tests=0)


def test_turns() -> None:
    assert round_robin({"pod-a": 34, "pod-b": 33, "pod-c": 33}, expected=PODS).even
    verdict = round_robin({"pod-a": 35, "pod-b": 33, "pod-c": 32}, expected=PODS)
    assert not verdict.even
    assert (verdict.statistic, verdict.critical, verdict.p_value) == (3, 1, None)
    assert not round_robin({"pod-a": 50, "pod-b": 50}, expected=PODS).even


@given(st.integers(1, 8), st.integers(1, 500))
def test_turns_taken_are_even(backends: int, connections: int) -> None:
    names = [f"pod-{number}" for number in range(backends)]
    seen = dict.fromkeys(names, 0)
    for turn in range(connections):
        seen[names[turn % backends]] += 1
    assert round_robin(seen, expected=names).even


@given(st.integers(2, 10), st.integers(0, 2**32))
def test_fair_dice_pass(backends: int, seed: int) -> None:
    """A fair choice fails once in a million runs, so here never."""
    names = [f"pod-{number}" for number in range(backends)]
    chosen = random.Random(seed).choices(names, k=900)
    assert multinomial({name: chosen.count(name) for name in names}, expected=names).even


def test_the_message_has_all_numbers() -> None:
    verdict: Verdict = multinomial({"pod-a": 300, "pod-b": 200, "pod-c": 400}, expected=PODS, failures=2)
    text = str(verdict)
    for word in ("pod-a 300/300.0", "statistic", "27.63", "p = ", "2 failed", "2 connections got no answer"):
        assert word in text


@pytest.mark.parametrize("shares", [(1, 1, 1), (5, 3, 2)])
def test_bounds_are_where_a_count_alone_makes_the_spread_uneven(shares: tuple[int, ...]) -> None:
    names, total = ("a", "b", "c"), 900
    expected = {name: Fraction(share, sum(shares)) for name, share in zip(names, shares, strict=True)}

    def verdict(first: int) -> Verdict:
        # The others share what is left as evenly as they can: the least chi-square with this count.
        rest = (total - first) * expected["b"] / (1 - expected["a"])
        counts = {"a": first, "b": round(rest), "c": total - first - round(rest)}
        return multinomial(counts, expected=expected)

    low, high = verdict(round(total * expected["a"])).bounds()["a"]

    assert verdict(math.ceil(low) + 1).even
    assert verdict(math.floor(high) - 1).even
    assert not verdict(math.floor(low)).even
    assert not verdict(math.ceil(high)).even


def test_bounds_of_turns_are_the_share_rounded_either_way() -> None:
    verdict = round_robin({"a": 334, "b": 333, "c": 333}, expected={"a", "b", "c"})
    assert set(verdict.bounds().values()) == {(333.0, 334.0)}
    assert verdict.told()["counts"]["a"] == {"seen": 334, "expected": 1000 / 3, "low": 333.0, "high": 334.0}


def test_a_stranger_is_told_with_nothing_expected_of_it() -> None:
    told = multinomial({"a": 50, "b": 50, "x": 1}, expected={"a", "b"}).told()
    assert told["even"] is False
    assert told["counts"]["x"] == {"seen": 1, "expected": 0.0, "low": 0.0, "high": 0.0}
