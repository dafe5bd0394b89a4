"""Were connections spread evenly over the backends? One verdict, with the numbers it rests on.

Two oracles, since the proxy modes choose differently:

- `multinomial`: iptables and nftables choose at random for each connection. A chi-square goodness-of-fit test
  with alpha = 1e-6 for a whole run of `tests` tests (Bonferroni): a fair proxy fails one run in a million, so
  there is no reason to try again, and that would only hide a skew. Fix the number of requests beforehand.
- `round_robin`: ipvs rr takes turns, so counts of one node, one address and one sequential client differ by
  at most 1. Never add nodes up: each has its own turn.

>>> verdict = multinomial({"pod-a": 310, "pod-b": 295, "pod-c": 295}, expected={"pod-a", "pod-b", "pod-c"})
>>> verdict.even, verdict.statistic, verdict.critical
(True, 0.5, 27.63...)
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from lab.errors import LabError

ALPHA = 1e-6
"""How often a fair proxy may fail a whole run of tests."""

MINIMUM_EXPECTED = 5
"""Connections each backend must have to expect for the chi-square distribution to be a good approximation."""


class SpreadError(LabError):
    """The observations cannot be judged: that is neither even nor uneven."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Whether what was seen fits what was expected, and the numbers behind it.

    `seen` and `expected` count connections by backend. `statistic` is chi-square, or the greatest difference
    of two counts; it passes up to `critical`. `p_value` is None where nothing is left to chance.
    """

    even: bool
    method: str
    seen: Mapping[str, int]
    expected: Mapping[str, float]
    failures: int
    statistic: float
    critical: float
    p_value: float | None
    alpha: float | None
    reasons: tuple[str, ...] = ()
    """Why it is not even, one a line; empty when it is."""

    def __str__(self) -> str:
        """One line, for the message of an assertion."""
        counts = ", ".join(
            f"{name} {self.seen.get(name, 0)}/{self.expected.get(name, 0):.1f}"
            for name in sorted({*self.seen, *self.expected})
        )
        chance = "" if self.p_value is None else f", p = {self.p_value:.3g} (least {self.alpha:.3g})"
        text = (
            f"{'even' if self.even else 'not even'} by {self.method}: seen/expected {counts}; "
            f"statistic {self.statistic:.4g} (at most {self.critical:.4g}){chance}; {self.failures} failed"
        )
        return "; ".join([text, *self.reasons])

    def bounds(self) -> dict[str, tuple[float, float]]:
        """The counts each backend may have in a verdict of even: a count beyond them alone makes it uneven.

        Of chi-square: its critical value puts a backend's count at most `sqrt(critical·E·(1 - E/n))` from the
        expected E of n, since the least chi-square of a deviation d is `d²/E + d²/(n - E)`. Of turns: n/k,
        rounded either way.
        """
        total = sum(self.expected.values())
        found = {}
        for name, wanted in self.expected.items():
            if self.p_value is None:
                found[name] = (float(math.floor(wanted)), float(math.ceil(wanted)))
            else:
                far = math.sqrt(self.critical * wanted * (1 - wanted / total))
                found[name] = (max(0.0, wanted - far), min(total, wanted + far))
        return found

    def told(self) -> dict[str, Any]:
        """The verdict in values of JSON: each backend's count with what was expected, and its bounds."""
        bounds = self.bounds()
        return {
            "even": self.even,
            "method": self.method,
            "counts": {
                name: {
                    "seen": self.seen.get(name, 0),
                    "expected": self.expected.get(name, 0.0),
                    "low": bounds.get(name, (0.0, 0.0))[0],
                    "high": bounds.get(name, (0.0, 0.0))[1],
                }
                for name in sorted({*self.seen, *self.expected})
            },
            "failures": self.failures,
            "statistic": self.statistic,
            "critical": self.critical,
            "p_value": self.p_value,
            "alpha": self.alpha,
        }


def multinomial(
    seen: Mapping[str, int],
    *,
    expected: Collection[str] | Mapping[str, Fraction],
    failures: int = 0,
    tests: int = 1,
    alpha: float = ALPHA,
) -> Verdict:
    """Judge a random choice for each connection.

    Args:
        seen: answers by backend, of fresh connections, their number fixed before.
        expected: every backend, with its share unless all are alike.
        failures: connections without an answer. One is enough to fail: leaving it out would bias the counts.
        tests: how many such tests the run makes; alpha is divided by it.
        alpha: how often a fair proxy may fail the whole run.

    Raises:
        SpreadError: nothing was seen or expected, or too little for the test.
    """
    shares = _shares(expected)
    reasons = _reasons(seen, shares, failures)
    total = sum(count for name, count in seen.items() if name in shares)
    _must(total > 0, "No answer came from any backend that was expected", seen)
    _must(tests >= 1, "The number of tests must be at least 1", {})
    wanted = {name: float(share * total) for name, share in shares.items()}
    least = min(wanted.values())
    _must(
        least >= MINIMUM_EXPECTED,
        f"Too few connections to judge: a backend expects {least:.1f}, less than {MINIMUM_EXPECTED}",
        seen,
    )
    level = alpha / tests
    statistic, p_value, critical = 0.0, 1.0, 0.0
    if len(shares) > 1:
        from scipy.stats import chi2, chisquare  # noqa: PLC0415 -- takes a second, which most never need

        counts = [seen.get(name, 0) for name in wanted]
        result = chisquare(counts, list(wanted.values()))
        statistic, p_value = float(result.statistic), float(result.pvalue)
        critical = float(chi2.isf(level, len(shares) - 1))
    if statistic > critical:
        reasons.append(f"chance gives so uneven a spread with p = {p_value:.3g}, less than {level:.3g}")
    return Verdict(
        even=not reasons,
        method="chi-square",
        seen=dict(seen),
        expected=wanted,
        failures=failures,
        statistic=statistic,
        critical=critical,
        p_value=p_value,
        alpha=level,
        reasons=tuple(reasons),
    )


def round_robin(seen: Mapping[str, int], *, expected: Collection[str], failures: int = 0) -> Verdict:
    """Judge turns: no two backends' counts may differ by more than 1.

    Args:
        seen: answers by backend, to one client that made one connection after another, on one node.
        expected: every backend.
        failures: connections without an answer; one is enough to fail.

    Raises:
        SpreadError: nothing was seen or expected.
    """
    shares = _shares(expected)
    reasons = _reasons(seen, shares, failures)
    total = sum(seen.values())
    counts = [seen.get(name, 0) for name in shares]
    _must(sum(counts) > 0, "No answer came from any backend that was expected", seen)
    difference = max(counts) - min(counts)
    if difference > 1:
        reasons.append(f"counts differ by {difference}, turns would differ by at most 1")
    return Verdict(
        even=not reasons,
        method="turns",
        seen=dict(seen),
        expected={name: float(share * total) for name, share in shares.items()},
        failures=failures,
        statistic=difference,
        critical=1,
        p_value=None,
        alpha=None,
        reasons=tuple(reasons),
    )


def _must(condition: bool, what: str, seen: Mapping[str, int]) -> None:
    if not condition:
        raise SpreadError(what, details=[f"{name}: {count}" for name, count in sorted(seen.items())])


def _shares(expected: Collection[str] | Mapping[str, Fraction]) -> dict[str, Fraction]:
    _must(len(expected) > 0, "No backend is expected to answer, so nothing can be judged", {})
    if not isinstance(expected, Mapping):
        names = sorted(set(expected))
        return {name: Fraction(1, len(names)) for name in names}
    shares = dict(expected)
    fair = sum(shares.values()) == 1 and min(shares.values()) > 0
    _must(fair, "The expected shares must be positive and add up to 1", {})
    return shares


def _reasons(seen: Mapping[str, int], shares: Mapping[str, Fraction], failures: int) -> list[str]:
    _must(failures >= 0 and all(count >= 0 for count in seen.values()), "Counts must not be negative", seen)
    strangers = {name: count for name, count in seen.items() if count and name not in shares}
    reasons = [
        f"{count} answers from {name}, which is no backend" for name, count in sorted(strangers.items())
    ]
    if failures:
        reasons.append(f"{failures} connections got no answer")
    return reasons
