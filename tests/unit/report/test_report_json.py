"""From events to the report: outcomes, attempts, and what was cut off."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema  # type: ignore[import-untyped]
import pytest
from run_events import FACTS, FAILED, TEST, Run

from lab.errors import InputError
from lab.report import build, folder, model, results


def built(run: Run) -> model.Report:
    return build.report(results.read(run.file))


def test_a_test_is_as_its_worst_phase(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.test("test_a.py::test_1")
    run.test("test_a.py::test_2", outcome="failed", phase="teardown", **FAILED)
    run.test("test_a.py::test_3", outcome="skipped", phase="setup", message="not here")
    run.end(1)

    report = built(run)

    assert [result.outcome for result in report.results] == ["passed", "failed", "skipped"]
    assert report.results[2].message == "not here"
    (session,) = report.sessions
    assert (session.passed, session.failed, session.skipped, session.unfinished) == (1, 1, 1, 0)
    assert report.complete


def test_a_failure_says_what_was_expected_seen_and_how_to_see_it(tmp_path: Path) -> None:
    run = Run(tmp_path, mode="nftables", cluster={**FACTS["cluster"], "name": "other"})
    run.test(outcome="failed", **FAILED)
    run.end(1)

    (result,) = built(run).results
    (failure,) = result.failures

    assert (failure.expected, failure.seen) == ("every request answered", "0 of 3 answered")
    assert failure.where == "tests/conformance/test_clusterip.py:42"
    assert failure.see == "lab exec --name other node01 -- curl http://10.96.0.20"
    before, _, again = failure.again.partition(" && ")
    assert before == "lab proxy-mode --name other nftables"
    assert again == "lab test --name other 'test_clusterip.py::test_answers[node01]'"
    assert failure.rules == {"iptables rules on node01": "-A KUBE-SERVICES -j KUBE-SVC-X"}
    assert result.message == "expected every request answered"


def test_on_a_strangers_cluster_the_test_is_run_again_by_its_kubeconfig(tmp_path: Path) -> None:
    cluster = {**FACTS["cluster"], "name": "theirs", "kubeconfig": "/home/me/theirs"}
    run = Run(tmp_path, cluster=cluster)
    run.test(outcome="failed", **FAILED)
    run.end(1)
    (failure,) = built(run).results[0].failures
    assert failure.see == ""
    assert failure.again == "lab test --kubeconfig /home/me/theirs 'test_clusterip.py::test_answers[node01]'"


def test_seconds_are_those_of_all_phases(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.test()
    run.end()

    (result,) = built(run).results

    assert (result.seconds, result.phases) == (1.5, {"setup": 0.5, "call": 0.5, "teardown": 0.5})


def test_a_test_that_ran_twice_is_as_its_last_run_and_has_two_attempts(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.test(outcome="failed", **FAILED)
    run.test()
    run.end()

    (result,) = built(run).results

    assert (result.outcome, result.attempts) == ("passed", 2)


def test_a_subtest_that_failed_fails_its_test_and_is_told_by_name(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.write("start", test=TEST)
    run.write("phase", test=TEST, phase="call", outcome="failed", seconds=1, subtest="mode=ipvs", **FAILED)
    run.write(
        "phase", test=TEST, phase="call", outcome="failed", seconds=2, message="contains 1 failed subtest"
    )
    run.write("phase", test=TEST, phase="teardown", outcome="passed", seconds=0)
    run.end(1)

    (result,) = built(run).results

    assert (result.outcome, result.seconds) == ("failed", 2)
    assert [failure.phase for failure in result.failures] == ["call (mode=ipvs)"]


def test_what_was_running_when_the_run_was_cut_off_is_unfinished(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.write("collected", tests=5)
    run.test("test_a.py::test_1")
    run.write("start", test="test_a.py::test_2")

    report = built(run)

    assert [result.outcome for result in report.results] == ["passed", "unfinished"]
    (session,) = report.sessions
    assert (session.unfinished, session.not_run, session.complete) == (1, 3, False)
    assert not report.complete


def test_an_interrupted_session_is_not_complete(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.end(2)

    assert not built(run).complete


def test_a_run_that_never_began_a_session_is_told(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.file.write_text(run.file.read_text().splitlines(keepends=True)[0])

    report = built(run)

    assert (report.sessions, report.results, report.complete) == ((), (), False)


def test_a_behaviour_of_the_tests_own_is_kept(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.test(behaviours=["services/basic-endpoint", "networking/node-service-http"])
    run.test("tests/conformance/test_dns.py::test_name[node01-A]")
    run.end()

    first, second = built(run).results
    assert first.behaviours == ("services/basic-endpoint", "networking/node-service-http")
    assert (second.name, second.behaviours) == ("dns/name[A]", ("dns/name[A]",))


def test_the_truth_table_and_the_distribution_are_taken_from_what_tests_recorded(tmp_path: Path) -> None:
    count = {"seen": 310, "expected": 300.0, "low": 240.5, "high": 359.5}
    sample = {
        "client": "node01",
        "path": "ClusterIP",
        "target": "http://10.96.0.20:80",
        "even": True,
        "method": "chi-square",
        "counts": {"pod-a": count},
        "failures": 0,
        "statistic": 0.5,
        "critical": 27.6,
        "p_value": 0.7,
        "alpha": 1e-7,
    }
    run = Run(tmp_path, mode="ipvs")
    run.test("test_truth.py::test_1", target="pod IP", expected="answers", seen="answers")
    run.test("test_truth.py::test_2", outcome="failed", target="NodePort", expected="refused", seen="answers")
    run.test("test_spread.py::test_1", distribution=sample)
    run.end()

    report = built(run)

    cells = [(cell.client, cell.target, cell.expected, cell.seen, cell.outcome) for cell in report.truth]
    assert cells == [
        ("node01", "pod IP", "answers", "answers", "passed"),
        ("node01", "NodePort", "refused", "answers", "failed"),
    ]
    (distribution,) = report.distributions
    assert (distribution.mode, distribution.counts["pod-a"].low) == ("ipvs", 240.5)


@pytest.mark.parametrize("line", ['{"event": "start", "test": "a"}', '{"event": "session", "at": "now"}'])
def test_events_that_lack_what_they_must_have_are_bad_input(tmp_path: Path, line: str) -> None:
    run = Run(tmp_path)
    first = run.file.read_text().splitlines(keepends=True)[0]
    run.file.write_text(f"{first}{line}\n")

    with pytest.raises(InputError, match="no results of lab test"):
        built(run)


def test_the_schema_is_up_to_date() -> None:
    assert folder.SCHEMA.read_text() == folder.schema(), "run: python docs/reference/generate.py"


def test_report_json_is_as_its_schema_says(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.test(outcome="failed", **FAILED)
    run.end(1)
    folder.write(tmp_path)
    schema = json.loads(folder.SCHEMA.read_text())
    report = json.loads((tmp_path / model.FILE).read_text())

    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(report, schema)
    del report["results"][0]["outcome"]
    with pytest.raises(jsonschema.ValidationError, match="outcome"):
        jsonschema.validate(report, schema)
