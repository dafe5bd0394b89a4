"""A run's folder: its results while it runs, and the report made of them, however the run ended."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lab.errors import LabError
from lab.report import build, model, page, results
from lab.state import write_json, write_text

SCHEMA = Path(__file__).with_name("report.schema.json")


@contextlib.contextmanager
def recorded(folder: Path, facts: dict[str, Any]) -> Iterator[None]:
    """Begin `results.jsonl`, and write the report at the end, however that comes."""
    file = folder / results.FILE
    results.append(file, "run", version=results.VERSION, **facts)
    try:
        yield
    except BaseException:
        with contextlib.suppress(LabError):  # what went wrong matters more
            write(folder)
        raise
    results.append(file, "done")
    write(folder)


def write(folder: Path) -> model.Report:
    """Make `report.json` and `report.html` of a run's `results.jsonl`; those that are there are replaced.

    Raises:
        InputError: the folder has no results, or they cannot be understood.
    """
    report = build.report(results.read(folder / results.FILE))
    write_json(folder / model.FILE, report.model_dump(mode="json"))
    write_text(folder / page.FILE, page.render(report))
    return report


def schema() -> str:
    """The JSON schema of `report.json`."""
    values = {"$schema": "https://json-schema.org/draft/2020-12/schema", **model.Report.model_json_schema()}
    return json.dumps(values, indent=2) + "\n"
