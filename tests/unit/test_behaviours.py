"""The behaviours' data and the tests that prove them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from lab import behaviours, suites
from lab.errors import LabError

ONE = {"id": "answers", "says": "It answers.", "paths": ["node → ClusterIP"], "fault": "its rule deleted"}
OTHER = {"id": "sctp", "says": "It answers over SCTP.", "not_covered": "no SCTP here yet"}


def written(folder: Path, *entries: Mapping[str, object], file: str = "services.yaml") -> Path:
    lines = [f"- {entry!r}\n".replace("'", '"') for entry in entries]
    (folder / file).write_text("".join(lines))
    return folder


def test_the_suites_and_their_behaviours_agree() -> None:
    """Every test proves something that is known, and whatever is said to be covered is."""
    assert behaviours.faults(behaviours.load(), suites.proofs()) == []


def test_a_behaviour_is_of_the_area_of_its_file(tmp_path: Path) -> None:
    found = behaviours.load(written(tmp_path, ONE, OTHER))
    assert [(one.id, one.area, one.covered) for one in found.values()] == [
        ("answers", "services", True),
        ("sctp", "services", False),
    ]


@pytest.mark.parametrize("missing", ["paths", "fault"])
def test_a_covered_behaviour_says_how_and_what_fails_it(tmp_path: Path, missing: str) -> None:
    entry = {key: value for key, value in ONE.items() if key != missing}
    with pytest.raises(LabError, match="does not describe behaviours") as raised:
        behaviours.load(written(tmp_path, entry))
    assert "answers needs paths and the fault that makes it fail" in raised.value.details[0]


def test_one_that_is_not_covered_has_no_fault(tmp_path: Path) -> None:
    with pytest.raises(LabError) as raised:
        behaviours.load(written(tmp_path, {**ONE, "not_covered": "too hard"}))
    assert "is not covered, and yet has paths or a fault" in raised.value.details[0]


def test_an_id_is_taken_once(tmp_path: Path) -> None:
    written(tmp_path, ONE)
    written(tmp_path, ONE, file="zones.yaml")
    with pytest.raises(LabError, match="the id answers is taken by services"):
        behaviours.load(tmp_path)


def test_faults_name_what_disagrees(tmp_path: Path) -> None:
    known = behaviours.load(written(tmp_path, ONE, OTHER))
    assert behaviours.faults(known, {"test_a": ("answers",)}) == []
    assert behaviours.faults(known, {"test_a": (), "test_b": ("sctp", "dns")}) == [
        "test_a proves nothing that is known: give it a behaviour",
        "test_b names dns, which is not among the behaviours",
        "answers is said to be covered, but no test names it",
        "sctp is said not to be covered, but a test names it",
    ]
