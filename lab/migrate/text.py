"""What a check came to, for a person: what differs, why, and whom it is about."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from lab import switch
from lab.migrate.model import Change, Failure, Migration, OneSided

SHOWN = 8
"""Services, failures and the like that are named; a program gets them all."""

Line = Sequence[tuple[str, str]]
"""Parts of a line: style and text."""


def lines(found: Migration) -> Iterator[Line]:
    """The whole result."""
    yield _verdict(found)
    for number, change in enumerate(found.comparison.changes, 1):
        yield ()
        yield from _change(number, change, found)
    yield from _failures(found)
    yield from _one_sided(found)
    yield ()
    yield from _residue(found)
    yield [("", _end(found))]
    yield [("dim", f"Both runs: {found.folder}/report.html")]


def _verdict(found: Migration) -> Line:
    compared, undeclared = found.comparison, len(found.undeclared)
    differ = len(compared.changes)
    said = f"{found.before} → {found.after}, Kubernetes {found.kubernetes}: "
    said += f"{differ} {'thing differs' if differ == 1 else 'things differ'}"
    if undeclared:
        said += f", {undeclared} of them undeclared"
    elif differ:
        said += ", as declared"
    said += f"; {compared.alike} measured alike; {compared.passed} tests passed in both modes"
    if compared.failures:
        said += f", {len(compared.failures)} did not pass"
    if not compared.complete:
        said += "; a run of the suites was cut off"
    return [("bold green" if found.ok else "bold red", said)]


def _change(number: int, change: Change, found: Migration) -> Iterator[Line]:
    head = ("bold", f"{number}. {change.what}: ")
    yield [head, ("yellow" if change.declared else "red", f"{change.before.seen} → {change.after.seen}")]
    yield _row("asked by", ", ".join(change.clients))
    if not change.declared:
        yield [("red", f"   {'UNDECLARED':<12}"), ("", _undeclared(change))]
    for side in (change.before, change.after):
        if side.source and (change.before.source != change.after.source or side is change.after):
            yield _row(side.mode if change.before.source != change.after.source else "why", side.source)
    if found.services:
        concerned = [f"{one.service} ({one.because})" for one in change.services]
        yield _row("concerns", _some(concerned) or "none of the Services that are there")


def _undeclared(change: Change) -> str:
    wanted = {side.mode: side.expected for side in (change.before, change.after)}
    if len(set(wanted.values())) == 1:
        return f"both modes should show: {change.before.expected}"
    return "expected " + ", ".join(f"in {mode} mode: {expected}" for mode, expected in wanted.items())


def _row(name: str, text: str) -> Line:
    return [("dim", f"   {name:<12}"), ("", text)]


def _failures(found: Migration) -> Iterator[Line]:
    failures: Sequence[Failure] = found.comparison.failures
    if failures:
        yield ()
        yield [("bold red", "Tests that did not pass")]
    for one in failures[:SHOWN]:
        told = f"{found.before}: {one.before}, {found.after}: {one.after}"
        yield [("", f"   {one.test.rpartition('/')[2]} ({told}): {one.message}")]
    if len(failures) > SHOWN:
        yield [("", f"   and {len(failures) - SHOWN} more")]


def _one_sided(found: Migration) -> Iterator[Line]:
    alike: dict[tuple[str, str], list[OneSided]] = {}
    for one in found.comparison.one_sided:
        alike.setdefault((one.mode, one.reason), []).append(one)
    if alike:
        yield ()
        yield [("bold", "Tested in one mode only")]
    for (mode, reason), those in alike.items():
        names = list(dict.fromkeys(one.name for one in those))
        yield [("", f"   {mode}: {_some(names)}: {reason}")]


def _residue(found: Migration) -> Iterator[Line]:
    removed, left = found.residue.removed, found.residue.left
    if removed:
        yield [("bold", f"kube-proxy itself left of {found.before} mode, and the lab removed")]
        yield from ([("", f"   {line}")] for line in switch.told(removed))
    else:
        yield [("bold", f"kube-proxy itself left nothing of {found.before} mode.")]
    if left:
        yield [("bold red", f"Of {found.before} mode there is still")]
        yield from ([("", f"   {node}: {thing}")] for node, things in left.items() for thing in things)


def _end(found: Migration) -> str:
    again = "" if found.mode == found.after else " again, as it was before"
    return f"The lab {found.lab!r} is in {found.mode} mode{again}."


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
