"""The prober that stays at a place, as the suites talk to it; a stand-in speaks its protocol."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

#: Says of every plan who made the run; `die`: ends instead, `hang`: says nothing, `refuse`: cannot run it. A
#: path is made a folder, and it ends; where that is there already it is a plan as any other.
STAND_IN = """
import json, os, sys, time
for line in sys.stdin:
    target = json.loads(line)["target"]
    if target == "die":
        sys.exit("cut off")
    if target.startswith("/") and not os.path.isdir(target):
        os.mkdir(target)
        sys.exit("cut off")
    if target == "hang":
        time.sleep(60)
    report = {"error": "no"} if target == "refuse" else {"target": target, "pid": os.getpid()}
    print(json.dumps(report), flush=True)
"""


@pytest.fixture
def prober(of_suites: Callable[[str], ModuleType]) -> ModuleType:
    return of_suites("prober")


@pytest.fixture
def probers(prober: ModuleType) -> Iterator[Any]:
    made = prober.Probers()
    yield made
    made.end()


def plans(*targets: str) -> list[dict[str, str]]:
    return [{"target": target} for target in targets]


def place(name: str) -> tuple[str, ...]:
    return (sys.executable, "-c", STAND_IN, name)


def test_a_place_has_one_process_for_all_runs(probers: Any) -> None:
    first = probers.run(place("here"), plans("a", "b"), timeout=10)
    assert [report["target"] for report in first] == ["a", "b"]
    later = probers.run(place("here"), plans("c"), timeout=10)
    elsewhere = probers.run(place("there"), plans("d"), timeout=10)
    assert len({report["pid"] for report in (*first, *later)}) == 1
    assert elsewhere[0]["pid"] != first[0]["pid"]


def test_several_threads_at_a_place_share_it(probers: Any) -> None:
    with ThreadPoolExecutor(8) as pool:
        done = [
            pool.submit(probers.run, place("here"), plans(f"{number}"), timeout=10) for number in range(8)
        ]
    reports = [report for future in done for report in future.result()]
    assert {report["target"] for report in reports} == {f"{number}" for number in range(8)}
    assert len({report["pid"] for report in reports}) == 1


def test_one_that_was_cut_off_is_started_again(probers: Any) -> None:
    (before,) = probers.run(place("here"), plans("a"), timeout=10)
    running = probers.running[place("here")].process
    running.kill()
    running.wait()
    (after,) = probers.run(place("here"), plans("a"), timeout=10)
    assert after["pid"] != before["pid"]


def test_one_that_ends_at_a_question_is_asked_again_when_it_had_answered_before(
    probers: Any, tmp_path: Path
) -> None:
    (before,) = probers.run(place("here"), plans("a"), timeout=10)
    (after,) = probers.run(place("here"), plans(str(tmp_path / "cut")), timeout=10)
    assert after["pid"] != before["pid"]


def test_what_cannot_be_started_is_told_with_its_last_words(probers: Any) -> None:
    with pytest.raises(
        AssertionError, match=r"(?s)no prober can be started by .* here: exit code 1, 'cut off'"
    ):
        probers.run(place("here"), plans("die"), timeout=10)


def test_runs_are_not_made_twice(probers: Any) -> None:
    with pytest.raises(AssertionError, match="the prober ended in a run: exit code 1, 'cut off'"):
        probers.run(place("here"), plans("a", "die"), timeout=10)


def test_time_is_bounded_and_the_next_run_is_not_answered_by_the_late_one(probers: Any) -> None:
    with pytest.raises(AssertionError, match="1 of 2 runs of the prober were done in time"):
        probers.run(place("here"), plans("a", "hang"), timeout=1)
    (report,) = probers.run(place("here"), plans("b"), timeout=10)
    assert report["target"] == "b"


def test_a_plan_that_it_refuses_is_told(probers: Any) -> None:
    with pytest.raises(AssertionError, match="the prober says: no"):
        probers.run(place("here"), plans("refuse"), timeout=10)


def test_none_is_left(prober: ModuleType) -> None:
    probers = prober.Probers()
    probers.run(place("here"), plans("a"), timeout=10)
    process = probers.running[place("here")].process
    probers.end()
    assert process.returncode == 0
