"""The plugin that writes what happens while it happens, in a real pytest."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from run_events import FACTS

from lab.report import build, model, results

SUITE = '''
import pathlib, time, pytest

@pytest.fixture
def broken():
    raise OSError("no route to host")

class Unmet(AssertionError):
    expected, seen, asked = "all answered", "0 of 3 answered", ("exec", "node01", "--", "true")

def test_right(record_property):
    """Everything answers."""
    record_property("node", "node01")
    record_property("mode", "told by the run already")
    record_property("distribution", '{"even": true}')

def test_told():
    raise Unmet("in short")

def test_plain():
    seen = {"node01": 2}
    assert seen == {"node01": 3}

def test_error(broken):
    pass

def test_left_out():
    pytest.skip("not here")

@pytest.mark.behaviour("services/one", "services/two", paths="all")
def test_parts(subtests):
    for number in range(2):
        with subtests.test(number=number):
            assert number

@pytest.mark.parametrize("protocol", [
    pytest.param(name, marks=pytest.mark.behaviour(f"services/{name}")) for name in ("http", "udp")
])
def test_over(protocol):
    pass

def test_slow():
    time.sleep(60)
'''
PARAMETERS = """
import pytest

one, two = (pytest.param(name, marks=pytest.mark.behaviour(name)) for name in ("one", "two"))

@pytest.mark.behaviour("all/of")
@pytest.mark.parametrize("what", [one, two])
def test_either(what):
    pass
"""
CONFTEST = """
import pytest

def pytest_configure(config):
    config.addinivalue_line("markers", "behaviour(*ids, paths)")

@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if report.failed:
        report.sections.append(("iptables rules on node01", "-A KUBE-SERVICES"))
    return report
"""


def prepared(folder: Path) -> list[str]:
    """pytest's command for the suite, in a folder that begins a run."""
    (folder / "test_it.py").write_text(SUITE)
    (folder / "conftest.py").write_text(CONFTEST)
    plugin = ["-p", "lab.report.plugin", f"--results={folder / results.FILE}", "--results-mode=ipvs"]
    results.append(folder / results.FILE, "run", version=results.VERSION, **FACTS)
    return [sys.executable, "-m", "pytest", "-q", f"--rootdir={folder}", *plugin, str(folder)]


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> list[Mapping[str, Any]]:
    folder = tmp_path_factory.mktemp("run")
    ran = subprocess.run([*prepared(folder), "-k", "not slow"], capture_output=True, timeout=60, check=False)
    assert ran.returncode == 1, ran.stdout
    return list(results.read(folder / results.FILE))


def lines(events: list[Mapping[str, Any]], test: str, phase: str = "call") -> list[Mapping[str, Any]]:
    return [
        event
        for event in events
        if event.get("test") == f"test_it.py::{test}" and event.get("phase") == phase
    ]


def test_every_phase_is_a_line_with_the_mode(events: list[Mapping[str, Any]]) -> None:
    phases = [event.get("phase") for event in events if event.get("test") == "test_it.py::test_right"][1:]
    assert phases == ["setup", "call", "teardown"]
    assert {event["mode"] for event in events[1:]} == {"ipvs"}
    assert [event["event"] for event in events[1:4]] == ["session", "collected", "start"]
    assert events[2]["tests"] == 8
    assert (events[-1]["event"], events[-1]["exit"]) == ("end", 1)


def test_what_each_test_proves_is_told_at_first_by_all_its_parameters(
    events: list[Mapping[str, Any]],
) -> None:
    proved = events[2]["proved"]
    assert proved["test_it.py::test_parts"] == ["services/one", "services/two"]
    assert proved["test_it.py::test_over"] == ["services/http", "services/udp"]


def test_what_a_test_recorded_is_on_its_line(events: list[Mapping[str, Any]]) -> None:
    (line,) = lines(events, "test_right")
    assert line["title"] == "Everything answers."
    assert (line["node"], line["mode"], line["distribution"]) == ("node01", "ipvs", {"even": True})


def test_an_error_with_parts_is_told_in_parts(events: list[Mapping[str, Any]]) -> None:
    (line,) = lines(events, "test_told")
    assert (line["wanted"], line["instead"]) == ("all answered", "0 of 3 answered")
    assert line["asked"] == ["exec", "node01", "--", "true"]
    assert line["sections"] == [["iptables rules on node01", "-A KUBE-SERVICES"]]


def test_a_plain_assertion_is_told_as_it_is_written(events: list[Mapping[str, Any]]) -> None:
    (line,) = lines(events, "test_plain")
    assert line["wanted"] == 'seen == {"node01": 3}'
    assert "{'node01': 2} == {'node01': 3}" in line["instead"]
    assert line["where"].endswith("test_it.py:22")


def test_an_error_of_a_fixture_is_its_setups(events: list[Mapping[str, Any]]) -> None:
    assert lines(events, "test_error") == []
    (line,) = lines(events, "test_error", "setup")
    assert (line["outcome"], line["wanted"]) == ("failed", "")
    assert line["instead"] == "OSError: no route to host"


def test_a_skipped_test_says_why(events: list[Mapping[str, Any]]) -> None:
    (line,) = lines(events, "test_left_out")
    assert (line["outcome"], line["message"]) == ("skipped", "Skipped: not here")


def test_subtests_have_lines_of_their_own(events: list[Mapping[str, Any]]) -> None:
    parts = lines(events, "test_parts")
    assert [(part.get("subtest"), part["outcome"]) for part in parts] == [
        ("number=0", "failed"),
        ("number=1", "passed"),
        (None, "failed"),
    ]
    assert parts[-1]["behaviours"] == ["services/one", "services/two"]


def test_parameters_prove_what_each_of_them_names(tmp_path: Path) -> None:
    command = prepared(tmp_path)
    (tmp_path / "test_it.py").write_text(PARAMETERS)
    subprocess.run([*command, "--collect-only"], capture_output=True, timeout=60, check=True)
    (collected,) = [event for event in results.read(tmp_path / results.FILE) if event["event"] == "collected"]
    assert collected["proved"] == {"test_it.py::test_either": ["all/of", "one", "two"]}


def test_the_lines_make_a_report(events: list[Mapping[str, Any]]) -> None:
    told = [event for event in events if event.get("distribution") is None]
    report = build.report([*told, {"event": "done", "at": told[-1]["at"]}])
    outcomes = {result.test.rpartition("::")[2]: result.outcome for result in report.results}
    failed = ("test_told", "test_plain", "test_error", "test_parts")
    assert {test for test, outcome in outcomes.items() if outcome == "failed"} == set(failed)
    assert report.complete


def test_a_run_that_is_killed_leaves_what_it_did(tmp_path: Path) -> None:
    command = prepared(tmp_path)
    file = tmp_path / results.FILE
    process = subprocess.Popen([*command, "-k", "plain or slow"], stdout=subprocess.DEVNULL)
    end = time.monotonic() + 30
    while '"test_it.py::test_slow", "phase": "setup"' not in file.read_text() and time.monotonic() < end:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait(10)

    report: model.Report = build.report(results.read(file))

    assert [result.outcome for result in report.results] == ["failed", "unfinished"]
    assert not report.complete


def test_without_results_nothing_is_written(tmp_path: Path) -> None:
    command = prepared(tmp_path)
    before = (tmp_path / results.FILE).read_text()
    words = [word for word in command if not word.startswith("--results=")]
    subprocess.run([*words, "-k", "right"], capture_output=True, timeout=60, check=True)
    assert (tmp_path / results.FILE).read_text() == before
