"""The pytest plugin that writes `results.jsonl`: `pytest -p lab.report.plugin --results FILE`.

Each phase of each test is a line as soon as it has ended, with what was expected and seen where it failed.
With pytest-xdist the process that collects the workers' reports writes.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from lab.report import results

LONGEST = 20_000
"""Characters of one text that are kept: a traceback, a section."""
OWN = ("Captured",)
"""What the titles of pytest's own sections begin with."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--results` and `--results-mode`."""
    group = parser.getgroup("kube-service-lab")
    group.addoption(
        "--results", type=Path, metavar="FILE", help="append each phase of each test to this file"
    )
    group.addoption("--results-mode", default="", metavar="MODE", help="the proxy mode that is in effect")


def pytest_configure(config: pytest.Config) -> None:
    """Write only where asked to, and only in one process of a run."""
    if config.getoption("--results") and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Writer(config), "kube-service-lab-results")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Put beside a report what only the process that ran the test knows."""
    report = yield
    report.about = about(item, call)  # type: ignore[attr-defined]
    return report


def about(item: pytest.Item, call: pytest.CallInfo[None]) -> dict[str, Any]:
    """What the test is about and, of an error, what was expected, seen and asked."""
    found: dict[str, Any] = {"title": title(item)}
    if ids := behaviours(item):
        found["behaviours"] = ids
    info = call.excinfo
    if info is not None and not isinstance(info.value, (pytest.skip.Exception, KeyboardInterrupt)):
        error = info.value
        found["wanted"] = str(getattr(error, "expected", "") or statement(info))
        found["instead"] = str(getattr(error, "seen", "") or f"{info.typename}: {error}")[:LONGEST]
        found["asked"] = [str(word) for word in getattr(error, "asked", ())]
    return found


def behaviours(item: pytest.Item) -> list[str]:
    """The ids of what the test proves: those of its `behaviour` marks."""
    return [str(one) for marker in item.iter_markers("behaviour") for one in marker.args]


def title(item: pytest.Item) -> str:
    """The first line of the test's docstring, else its name in words."""
    doc = inspect.getdoc(getattr(item, "function", None)) or ""
    name: str = getattr(item, "originalname", None) or item.name
    return doc.splitlines()[0] if doc else name.removeprefix("test_").replace("_", " ")


def statement(info: pytest.ExceptionInfo[BaseException]) -> str:
    """What an assertion wanted, as it is written in the test; empty for another error."""
    if not isinstance(info.value, AssertionError):
        return ""
    try:
        text = " ".join(str(info.traceback[-1].statement).split())
    except (IndexError, OSError):
        return ""
    return text.removeprefix("assert ") if text.startswith("assert ") else ""


class Writer:
    """Writes what pytest tells the process that controls a run."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.file: Path = config.getoption("--results")
        self.mode: str = config.getoption("--results-mode")
        self.collected = False

    def write(self, event: str, **values: Any) -> None:
        """One line."""
        results.append(self.file, event, mode=self.mode, **values)

    def pytest_sessionstart(self) -> None:
        """A run of the suites begins. Nothing in them is drawn from a seed but pytest-randomly's order."""
        self.write(
            "session",
            seed=self.config.getoption("randomly_seed", None),
            connections=self.config.getoption("--n", None),
        )

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """How many tests there are to run, and what each of them proves."""
        if self.config.getoption("numprocesses", None):
            return
        proved: dict[str, list[str]] = {}
        for item in session.items:
            ids = proved.setdefault(item.nodeid.partition("[")[0], [])
            # Each of its parameters may be of a behaviour of its own.
            ids += [one for one in behaviours(item) if one not in ids]
        self.write("collected", tests=len(session.items), proved=proved)

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: list[str]) -> None:
        """The same, of pytest-xdist's first worker; they all collect alike."""
        if not self.collected:
            self.collected = True
            self.write("collected", tests=len(ids), proved={})

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """A test begins: the last word of a run that is killed in it."""
        self.write("start", test=nodeid)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """A phase of a test has ended."""
        told: dict[str, Any] = {**getattr(report, "about", {}), **properties(report)}
        context = getattr(report, "context", None)
        if context is not None:  # a subtest
            told["subtest"] = context.msg or ", ".join(f"{k}={v}" for k, v in context.kwargs.items())
        crash = getattr(report.longrepr, "reprcrash", None)
        if report.failed:
            told["where"] = f"{crash.path}:{crash.lineno}" if crash else ""
            told["message"] = (crash.message if crash else report.longreprtext)[:LONGEST]
            told["traceback"] = report.longreprtext[:LONGEST]
            told["sections"] = [
                [name, text[:LONGEST]] for name, text in report.sections if not name.startswith(OWN)
            ]
        elif report.skipped:
            why = report.longrepr
            told["message"] = str(why[2] if isinstance(why, tuple) else getattr(report, "wasxfail", ""))
        self.write(
            "phase",
            test=report.nodeid,
            phase=report.when,
            outcome=report.outcome,
            seconds=round(report.duration, 3),
            **told,
        )

    def pytest_sessionfinish(self, exitstatus: int) -> None:
        """The run of the suites came to its end."""
        self.write("end", exit=int(exitstatus))


def properties(report: pytest.TestReport) -> dict[str, Any]:
    """What the test recorded about itself (`record_property`), on the last of its phases."""
    recorded: dict[str, Any] = {str(name): value for name, value in report.user_properties}
    recorded.pop("mode", None)
    distribution = recorded.get("distribution")
    if isinstance(distribution, str):
        recorded["distribution"] = json.loads(distribution)
    return recorded
