"""Two modes of one run of the suites, held against each other: a pure function of its report."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from lab.migrate.model import Change, Comparison, Failure, OneSided, Side
from lab.migrate.services import OwnService, concerned
from lab.report.model import Reach, Report, Result

ANY = "any"
"""Expected of what is recorded only: whatever is seen is as declared (tests/conformance/declared.py)."""
BAD = ("failed", "unfinished")

Cell = tuple[str, str, str]
"""Behaviour, target and client."""


def compare(report: Report, before: str, after: str, services: Iterable[OwnService]) -> Comparison:
    """What differs between two modes.

    Args:
        report: of a run with a session in each of them.
        before: the mode to go from.
        after: the mode to go to.
        services: the user's own.
    """
    own = list(services)
    old, new = (_cells(report, mode) for mode in (before, after))
    tested, again = (_tests(report, mode) for mode in (before, after))
    differing = [(key, old[key], new[key]) for key in old if key in new and old[key].seen != new[key].seen]
    both = [(tested[test], again[test]) for test in tested if test in again]
    return Comparison(
        changes=tuple(_changes(differing, own)),
        alike=sum(key in new for key in old) - len(differing),
        passed=sum({one.outcome, other.outcome} == {"passed"} for one, other in both),
        failures=tuple(_failures(tested, again)),
        one_sided=(*_one_sided(tested, again, before), *_one_sided(again, tested, after)),
        complete=all(_complete(report, mode) for mode in (before, after)),
    )


def _cells(report: Report, mode: str) -> dict[Cell, Reach]:
    """What was measured; a cell in which nothing was seen has a test that did not pass."""
    found = (cell for cell in report.truth if cell.mode == mode and cell.seen)
    return {(cell.declared, cell.target, cell.client): cell for cell in found}


def _tests(report: Report, mode: str) -> dict[str, Result]:
    return {result.test: result for result in report.results if result.mode == mode}


def _complete(report: Report, mode: str) -> bool:
    return any(session.mode == mode and session.complete for session in report.sessions)


def _changes(differing: Sequence[tuple[Cell, Reach, Reach]], own: Sequence[OwnService]) -> Iterable[Change]:
    """The differences, those that nobody declared first; clients that saw the same are told together."""
    alike: dict[tuple[Side, Side, str, str, bool], list[str]] = {}
    for (behaviour, target, client), old, new in differing:
        key = (_side(old), _side(new), behaviour, target, is_declared(old, new))
        alike.setdefault(key, []).append(client)
    for (before, after, behaviour, target, fine), clients in sorted(alike.items(), key=lambda one: one[0][4]):
        yield Change(
            what=target,
            behaviour=behaviour,
            clients=tuple(clients),
            before=before,
            after=after,
            declared=fine,
            services=concerned(own, behaviour, target),
        )


def is_declared(old: Reach, new: Reach) -> bool:
    """Whether two cells may differ: each is as its mode declares it, and the modes declare it differently."""
    passed = {old.outcome, new.outcome} == {"passed"}
    return passed and (old.expected != new.expected or old.expected == ANY)


def _side(cell: Reach) -> Side:
    return Side(mode=cell.mode, seen=cell.seen, expected=cell.expected, source=cell.source)


def _failures(before: Mapping[str, Result], after: Mapping[str, Result]) -> Iterable[Failure]:
    for test in dict.fromkeys((*before, *after)):
        pair = [before.get(test), after.get(test)]
        bad = [result for result in pair if result and result.outcome in BAD]
        if bad:
            told = [result.outcome if result else "not run" for result in pair]
            yield Failure(
                test=test,
                node=bad[0].node,
                before=told[0],
                after=told[1],
                message=bad[0].message or "it did not come to its end",
            )


def _one_sided(here: Mapping[str, Result], there: Mapping[str, Result], mode: str) -> Iterable[OneSided]:
    """What passed in a mode and was skipped or not run in the other."""
    for test, result in here.items():
        other = there.get(test)
        if result.outcome == "passed" and (other is None or other.outcome == "skipped"):
            reason = other.message if other else "not run"
            yield OneSided(name=result.name, node=result.node, mode=mode, reason=reason)
