"""What is read from JUnit XML, and what it makes of the exit code."""

from __future__ import annotations

from pathlib import Path

import pytest
from nights import NFTABLES, broken, cell

from lab.errors import Exit, InputError
from lab.nightly.results import FAILED, LAB, PASSED, SKIPPED, Cell, NightResult, cases, worst

JUNIT = """<?xml version="1.0" encoding="utf-8"?>
<testsuites><testsuite tests="6">
<testcase classname="tests.conformance.test_clusterip" name="test_answers[node01]" time="1.5">
  <properties><property name="node" value="node01"/><property name="mode" value="ipvs"/></properties>
</testcase>
<testcase classname="tests.conformance.test_clusterip" name="test_answers[pod]" time="1">
  <properties><property name="node" value="pod"/></properties>
  <failure message="AssertionError: 3 of 30 refused&#10;assert not 3">long</failure></testcase>
<testcase classname="tests.conformance.test_distribution" name="test_even[rr-node-a]" time="1">
  <properties><property name="node" value="node-a"/></properties></testcase>
<testcase classname="tests.conformance.test_dns" name="test_names[a-b]" time="1">
  <properties><property name="node" value="all"/></properties><skipped message="not here"/></testcase>
<testcase classname="tests.conformance.test_nodes" name="test_ready[node01]" time="0">
  <properties><property name="node" value="node01"/></properties><error message="">fixture broke
second line</error></testcase>
</testsuite></testsuites>
"""


def test_a_behaviour_is_its_suite_and_name_without_the_place(tmp_path: Path) -> None:
    junit = tmp_path / "junit.xml"
    junit.write_text(JUNIT)

    assert [(case.behaviour, case.place, case.outcome, case.message) for case in cases(junit)] == [
        ("clusterip/answers", "node01", PASSED, ""),
        ("clusterip/answers", "pod", FAILED, "AssertionError: 3 of 30 refused"),
        ("distribution/even[rr]", "node-a", PASSED, ""),
        ("dns/names[a-b]", "all", SKIPPED, "not here"),
        ("nodes/ready", "node01", FAILED, "fixture broke"),
    ]


@pytest.mark.parametrize(
    ("found", "whole"), [({PASSED, FAILED}, FAILED), ({PASSED, SKIPPED}, PASSED), ({SKIPPED}, SKIPPED)]
)
def test_a_behaviour_is_as_its_worst_test(found: set[str], whole: str) -> None:
    assert worst(found) == whole


def test_a_lab_that_did_not_come_up_says_more_than_a_failed_test() -> None:
    good, bad = cell(answers=PASSED), cell(NFTABLES, answers=FAILED)

    assert NightResult("", [good]).exit == Exit.DONE
    assert NightResult("", [good, bad]).exit == Exit.TEST_FAILED
    assert NightResult("", [bad, broken(), good]).exit == Exit.BRING_UP_FAILED
    assert NightResult("", [cell(answers=SKIPPED)]).exit == Exit.TEST_FAILED, "nothing ran"


def test_the_lab_itself_is_a_behaviour() -> None:
    assert [case.outcome for case in cell(answers=PASSED).behaviours()[LAB]] == [PASSED]
    assert [case.message for case in broken().behaviours()[LAB]] == ["kubeadm did not come to its end."]


def test_written_and_read_again_it_is_the_same(tmp_path: Path) -> None:
    night = NightResult("2026-11-24T013000Z", [cell(answers=FAILED), broken(NFTABLES)], {"kernel": "6.1"})
    night.write(tmp_path)

    assert NightResult.read(tmp_path / "results.json") == night


@pytest.mark.parametrize("text", ["{}", '{"stamp": "yesterday", "cells": []}', "no JSON"])
def test_what_is_no_night_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "results.json").write_text(text)

    with pytest.raises(InputError, match=r"results\.json"):
        NightResult.read(tmp_path / "results.json")


def test_a_cell_is_followed_by_its_minor() -> None:
    assert Cell("uml", "1.36.3", "ipvs").key == "uml 1.36 ipvs"
