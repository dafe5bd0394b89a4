"""`lab report`, and the report that `lab test` leaves, however it ends."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fakes import FakePlaybooks, FakeProvider
from run_events import FAILED, Run

from lab import suites
from lab.config import Config
from lab.report import model, page, results
from lab.state import LabState

Verb = Callable[..., Any]
"""`lab ARGS`; gives how it ended."""


@pytest.fixture
def run() -> Run:
    """A run of a lab of this user, that was cut off."""
    made = Run(LabState("lab").runs_dir / "20261124T101500Z-test")
    made.test(outcome="failed", **FAILED)
    return made


def test_the_last_run_is_told_and_the_page_is_where_it_says(run: Run, lab: Verb) -> None:
    said = lab("report").assert_exit(0)
    assert said.out == f"{run.folder / page.FILE}\n"
    assert "did not come to its end" in said.err
    assert (run.folder / page.FILE).read_text().startswith("<!doctype html>")


def test_a_run_given_by_its_folder_as_json(run: Run, lab: Verb) -> None:
    run.end(1)
    said = lab("report", str(run.folder), "-o", "json").assert_exit(0)
    assert said.err == ""
    report = model.Report.model_validate_json(said.out)
    assert [result.outcome for result in report.results] == ["failed"]


def test_no_run_and_no_results_are_bad_input(lab: Verb, tmp_path: Path) -> None:
    assert "has no run to report" in lab("report").assert_exit(2).err
    said = lab("report", str(tmp_path)).assert_exit(2)
    assert f"There are no results in {tmp_path}." in said.err
    assert list(tmp_path.glob("report*")) == []


def test_the_schema_needs_no_lab(lab: Verb) -> None:
    assert json.loads(lab("report", "--schema").assert_exit(0).out)["title"] == "Report"


@pytest.fixture
def up(machines: type[FakeProvider], playbooks: FakePlaybooks) -> None:
    """A lab of fakes that is there."""
    del machines
    playbooks.logs = "kernel=7.2.12\nnft=nftables v1.1.3 (Commodore)\nipset=\n"
    state = LabState("lab")
    state.make()
    state.write_config(Config())


def ran(*_: object, mode: str, folder: Path, args: list[str], **__: object) -> suites.Verdict:
    """Suites that fill two cells of the truth table and no more."""
    file = folder / results.FILE
    results.append(file, "session", mode=mode, seed=None, connections=900)
    for client in ("node01", "node02"):
        test = f"test_truth_table.py::test_reached[{client}]"
        expected = "answers" if mode == "iptables" else "refused"
        seen = "answers" if client == "node01" else expected
        results.append(file, "start", mode=mode, test=test)
        for phase in ("call", "teardown"):
            outcome = "passed" if phase == "teardown" or seen == expected else "failed"
            cell = {"node": client, "target": "loopback", "expected": expected, "seen": seen}
            told = {"test": test, "phase": phase, "outcome": outcome, "seconds": 0.1}
            results.append(file, "phase", mode=mode, **told, **cell)
    results.append(file, "end", mode=mode, exit=0)
    return suites.Verdict(mode, 2, 0, 0, 1.0, folder / " ".join(args))


@pytest.mark.usefixtures("up")
def test_the_matrix_is_every_modes_truth_table(lab: Verb, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suites, "run", ran)
    said = lab("test", "--matrix", "-k", "loop").assert_exit(0)
    table = [line.split("   ") for line in said.out.splitlines() if line]
    rows = [[cell.strip() for cell in line if cell.strip()] for line in table]
    assert rows[0][:4] == ["CLIENT", "TARGET", "IPTABLES: EXPECTED", "IPTABLES: SEEN"]
    assert rows[1] == ["node01", "loopback", "answers", "answers", *(["refused", "✗ answers"] * 2)]
    assert rows[2] == ["node02", "loopback", "answers", "answers", *(["refused", "refused"] * 2)]
    assert rows[4][-1].endswith("/-m matrix -k loop")


@pytest.mark.usefixtures("up")
def test_a_run_that_breaks_has_its_report(lab: Verb, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*args: object, **named: object) -> suites.Verdict:
        ran(*args, **named)  # type: ignore[arg-type]
        raise KeyboardInterrupt

    monkeypatch.setattr(suites, "run", interrupted)
    said = lab("test").assert_exit(130)
    (folder,) = LabState("lab").runs_dir.glob("*-test")
    assert f"report: {folder / page.FILE}" in said.err
    report = model.Report.model_validate_json((folder / model.FILE).read_text())
    assert not report.complete
    assert len(report.results) == 2
    assert report.cluster.nodes[0].versions == {"kernel": "7.2.12", "nft": "nftables v1.1.3 (Commodore)"}
