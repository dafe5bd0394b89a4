"""What changed since last night, and what the history keeps."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from nights import IPTABLES, NFTABLES, broken, cell, history, name

from lab.errors import InputError
from lab.nightly.history import History, changes
from lab.nightly.results import FAILED, LAB, PASSED, SKIPPED, CellResult, NightResult

Nights = dict[str, list[CellResult]]


def told(folder: Path, nights: Nights) -> list[tuple[str, str, list[str]]]:
    """The changes of the last of the nights: kind, behaviour and modes."""
    found = changes(history(folder, nights), name(max(nights)))
    return [(change.kind, change.behaviour, [entry.mode for entry in change.cells]) for change in found]


GOOD, BAD, LEFT_OUT = cell(answers=PASSED), cell(answers=FAILED), cell(answers=SKIPPED)
ONE = "clusterip/answers"


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        (GOOD, GOOD, []),
        (BAD, GOOD, [("mended", ONE, ["iptables"])]),
        (GOOD, BAD, [("failing", ONE, ["iptables"])]),
        (BAD, BAD, [("still", ONE, ["iptables"])]),
        (GOOD, LEFT_OUT, [("skipped", ONE, ["iptables"])]),
        (BAD, LEFT_OUT, [("skipped", ONE, ["iptables"])]),
        (LEFT_OUT, LEFT_OUT, []),
        (LEFT_OUT, GOOD, []),
        (GOOD, cell(), [("gone", ONE, ["iptables"])]),
        (cell(), BAD, [("failing", ONE, ["iptables"])]),
        (cell(), GOOD, []),
        # Of a lab that did not come up only that is said.
        (GOOD, broken(), [("failing", LAB, ["iptables"])]),
        (broken(), GOOD, [("mended", LAB, ["iptables"])]),
    ],
)
def test_changes(tmp_path: Path, before: CellResult, now: CellResult, expected: list[object]) -> None:
    assert told(tmp_path, {"22": [before], "23": [now]}) == expected


def test_a_lab_that_was_away_for_a_night_is_held_against_the_night_before(tmp_path: Path) -> None:
    nights = {"21": [GOOD], "22": [broken()], "23": [BAD]}

    assert told(tmp_path, nights) == [("failing", ONE, ["iptables"]), ("mended", LAB, ["iptables"])]


def test_what_failed_before_such_a_night_fails_on(tmp_path: Path) -> None:
    made = history(tmp_path, {"20": [BAD], "21": [BAD], "22": [broken()], "23": [BAD]})

    still = [change for change in changes(made, name("23")) if change.behaviour == ONE]

    assert [(change.kind, change.since) for change in still] == [("still", name("20"))]


def test_a_cell_that_was_not_run_is_held_against_its_own_last_night(tmp_path: Path) -> None:
    nights = {"21": [GOOD], "22": [cell(NFTABLES, answers=PASSED)], "23": [BAD]}

    assert told(tmp_path, nights) == [("failing", ONE, ["iptables"])]


def test_a_new_patch_release_goes_on_with_the_minor(tmp_path: Path) -> None:
    newer = replace(GOOD, cell=replace(IPTABLES, kubernetes="1.37.3"))

    assert told(tmp_path, {"22": [BAD], "23": [newer]}) == [("mended", ONE, ["iptables"])]


def test_one_behaviour_in_several_cells_is_one_change(tmp_path: Path) -> None:
    good = [GOOD, cell(NFTABLES, answers=PASSED)]
    bad = [BAD, cell(NFTABLES, answers=FAILED)]

    assert told(tmp_path, {"22": good, "23": bad}) == [("failing", ONE, ["iptables", "nftables"])]


def test_what_fails_on_says_since_when(tmp_path: Path) -> None:
    made = history(tmp_path, {"20": [BAD], "21": [GOOD], "22": [BAD], "23": [BAD], "24": [BAD]})

    (change,) = changes(made, name("24"))

    assert (change.kind, change.since) == ("still", name("22"))
    assert change.cells[0].where == ("node01",)
    assert change.cells[0].message == "nobody answered"


def test_written_and_read_again_it_is_the_same(tmp_path: Path) -> None:
    made = history(tmp_path, {"22": [GOOD, broken(NFTABLES)], "23": [BAD]})
    made.write()

    assert History.read(tmp_path) == made
    assert len((tmp_path / "history.jsonl").read_text().splitlines()) == 2 + 1 + 2


def test_a_night_told_again_replaces_itself(tmp_path: Path) -> None:
    made = history(tmp_path, {"22": [GOOD]})
    once = list(made.entries)
    made.put(NightResult(name("22"), [GOOD]))

    assert made.entries == once


def test_old_nights_are_forgotten(tmp_path: Path) -> None:
    made = history(tmp_path, {"01": [GOOD], "20": [GOOD], "21": [GOOD], "22": [GOOD]})

    made.forget(before=name("22"), days=2)

    assert made.nights == [name("20"), name("21"), name("22")]


@pytest.mark.parametrize("line", ["no JSON", '{"night": "2026-11-24T013000Z"}', "[]"])
def test_a_line_that_is_none_of_ours_is_named(tmp_path: Path, line: str) -> None:
    history(tmp_path, {"22": [GOOD]}).write()
    with (tmp_path / "history.jsonl").open("a") as file:
        file.write(line + "\n")

    with pytest.raises(InputError, match=r"history\.jsonl: line 3 is not a line of a history"):
        History.read(tmp_path)
