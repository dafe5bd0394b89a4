"""The workflows: their matrix is what the product has, and every action is pinned by its content."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import yaml

from lab import providers
from lab.config import PROXY_MODES
from lab.nightly.matrix import minors

WORKFLOWS = Path(__file__).resolve().parents[2] / ".github/workflows"


def workflow(name: str) -> Any:
    return yaml.safe_load((WORKFLOWS / name).read_text())


def lines(step: Any) -> list[str]:
    return str(step.get("run", "")).splitlines()


def test_every_night_runs_every_minor() -> None:
    job = workflow("nightly.yml")["jobs"]["conformance"]

    assert job["uses"] == "./.github/workflows/conformance.yml"
    assert tuple(json.loads(job["with"]["kubernetes"])) == minors()


def test_every_night_runs_virtual_machines_within_a_time_limit() -> None:
    (job,) = [job for job in workflow("nightly.yml")["jobs"].values() if "uses" not in job]

    assert any(line.endswith("tox run -e vagrant") for step in job["steps"] for line in lines(step))
    assert job["timeout-minutes"] < 360  # GitHub's own


def test_every_change_runs_the_newest_and_the_oldest_minor() -> None:
    job = workflow("ci.yml")["jobs"]["conformance"]

    assert json.loads(job["with"]["kubernetes"]) == [minors()[0], minors()[-1]]


def test_the_matrix_is_of_modes_and_providers_there_are() -> None:
    matrix = workflow("conformance.yml")["jobs"]["test"]["strategy"]["matrix"]

    assert tuple(matrix["mode"]) == PROXY_MODES
    assert set(matrix["provider"]) <= set(providers.PROVIDERS)
    assert {"uml", "podman"} <= set(matrix["provider"])


def test_actions_are_pinned_to_a_commit_and_say_which_release_that_is() -> None:
    used = [line.strip() for file in WORKFLOWS.glob("*.yml") for line in file.read_text().splitlines()]
    used = [line for line in used if re.match(r"(- )?uses: [^.]", line)]

    assert used
    assert [line for line in used if not re.search(r"@[0-9a-f]{40} # v\d+\.\d+\.\d+$", line)] == []
