"""`report.html`: one file, that needs no network and no script to be read."""

from __future__ import annotations

import functools
from collections import Counter
from dataclasses import dataclass

import jinja2

from lab.progress import duration
from lab.report import model, plot, table

FILE = "report.html"
MARKS = {"passed": "✓", "failed": "✗", "skipped": "–", "unfinished": "…"}  # noqa: RUF001 -- a dash is meant


@dataclass(frozen=True)
class Suite:
    """The results of one suite."""

    name: str
    results: tuple[model.Result, ...]

    @property
    def told(self) -> str:
        """`12 passed, 1 failed, 3.4 s`."""
        counts: Counter[str] = Counter(result.outcome for result in self.results)
        parts = [f"{counts[outcome]} {outcome}" for outcome in MARKS if counts[outcome]]
        return ", ".join([*parts, duration(sum(result.seconds for result in self.results))])


def render(report: model.Report) -> str:
    """The page."""
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            report=report,
            verdict=verdict(report),
            table=table.rows(report.truth),
            plots=plot.plots(report.distributions),
            suites=suites(report),
            nodes=list(dict.fromkeys(result.node for result in report.results)),
            versions=list(dict.fromkeys(name for node in report.cluster.nodes for name in node.versions)),
            slowest=sorted(report.results, key=lambda result: -result.seconds)[:10],
            sizes=plot,
        )
    )


def verdict(report: model.Report) -> str:
    """The run in one line."""
    failed, all_of = len(report.failed), len(report.results)
    passed = sum(result.outcome == "passed" for result in report.results)
    if failed:
        told = f"{failed} of {all_of} tests did not pass"
    elif not passed:
        told = "Nothing was tested"
    else:
        told = f"{passed} tests passed" + (
            f", {all_of - passed} skipped" if all_of > passed else ", none failed"
        )
    return told if report.complete else f"{told}; the run was cut off"


def suites(report: model.Report) -> list[Suite]:
    """The results by suite, in the order of the run."""
    found: dict[str, list[model.Result]] = {}
    for result in report.results:
        file = result.test.partition("::")[0].rpartition("/")[2]
        name = file.removesuffix(".py").removeprefix("test_").replace("_", " ")
        found.setdefault(name, []).append(result)
    return [Suite(name, tuple(results)) for name, results in found.items()]


@functools.cache
def _environment() -> jinja2.Environment:
    made = jinja2.Environment(
        loader=jinja2.PackageLoader("lab.report"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    made.filters["duration"] = duration
    made.globals["marks"] = MARKS
    return made
