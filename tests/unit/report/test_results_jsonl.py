"""What a run wrote is read again, also where it was cut off."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from run_events import Run

from lab.errors import InputError
from lab.report import results


def test_events_come_back_in_order(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.test()
    run.end()

    kinds = [event["event"] for event in results.read(run.file)]

    assert kinds == ["run", "session", "start", "phase", "phase", "phase", "end", "done"]


@pytest.mark.parametrize("kept", [1, 20])
def test_a_last_line_that_was_cut_off_is_left_out(tmp_path: Path, kept: int) -> None:
    run = Run(tmp_path)
    run.test()
    whole = results.read(run.file)
    text = run.file.read_text()
    last = text.splitlines(keepends=True)[-1]
    run.file.write_text(text + last[:kept])

    assert results.read(run.file) == whole


def test_a_whole_line_without_its_end_is_left_out_as_well(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.file.write_text(run.file.read_text() + json.dumps({"event": "end"}))

    assert [event["event"] for event in results.read(run.file)] == ["run", "session"]


@pytest.mark.parametrize("line", ["nonsense", "[]", "{}", '{"event": 3}'])
def test_a_line_that_is_no_event_is_named(tmp_path: Path, line: str) -> None:
    run = Run(tmp_path)
    run.file.write_text(f"{run.file.read_text()}{line}\n")

    with pytest.raises(InputError, match=r"no run's results[^$]*line 3: "):
        results.read(run.file)


def test_no_results_says_what_to_give(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="lab report RUN_DIR"):
        results.read(tmp_path / results.FILE)


@pytest.mark.parametrize("text", ["", '{"event": "start"}\n', '{"event": "run", "ver'])
def test_a_file_that_does_not_begin_a_run_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / results.FILE).write_text(text)

    with pytest.raises(InputError, match="does not begin a run"):
        results.read(tmp_path / results.FILE)


def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.file.write_text(run.file.read_text().replace('"version": 1,', '"version": 2,', 1))

    with pytest.raises(InputError, match="has version 2; this release reads version 1"):
        results.read(run.file)
