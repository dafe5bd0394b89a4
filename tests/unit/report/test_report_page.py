"""The page: one file, readable without a network or a script, with what failed first."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from run_events import FAILED, Run

from lab.report import build, page, results

VOID = {"meta", "input", "br", "hr", "img", "link", "line", "rect", "circle"}


class Page(HTMLParser):
    """The tags of a page, the text, and whether every element is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> at {self.getpos()}"

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def rendered(run: Run) -> tuple[str, Page]:
    text = page.render(build.report(results.read(run.file)))
    return text, Page(text)


@pytest.fixture
def failed(tmp_path: Path) -> Run:
    run = Run(tmp_path)
    run.test()
    run.test(
        "tests/conformance/test_dns.py::test_name[node02]", outcome="failed", **{**FAILED, "node": "node02"}
    )
    run.test(
        "tests/conformance/test_dns.py::test_left_out", outcome="skipped", phase="setup", message="<no> here"
    )
    run.end(1)
    return run


def test_it_is_one_file_without_network_or_script(failed: Run) -> None:
    text, seen = rendered(failed)
    assert seen.open == []
    assert {tag for tag, _ in seen.tags} & {"script", "link", "img", "iframe", "object"} == set()
    links = {value for _, attrs in seen.tags for name, value in attrs.items() if name in ("src", "href")}
    assert links <= {"report.json", "results.jsonl"}
    assert not re.search(r"url\(|@import|\son\w+=", text)
    assert "certified" not in text.lower()


def test_a_failure_comes_first_with_what_was_expected_seen_where_and_the_command(failed: Run) -> None:
    _, seen = rendered(failed)
    said = seen.text
    order = [
        "1 of 3 tests did not pass",
        "dns/name",
        "Expected every request answered",
        "Seen 0 of 3 answered",
        "Where from node02, iptables mode tests/conformance/test_clusterip.py:42",
        "See it yourself lab exec node01 -- curl http://10.96.0.20",
        "lab test 'test_dns.py::test_name[node02]'",
        "iptables rules on node01 -A KUBE-SERVICES -j KUBE-SVC-X",
        "Every behaviour",
    ]
    places = [said.find(words) for words in order]
    assert -1 not in places, dict(zip(order, places, strict=True))
    assert places == sorted(places)


def test_what_tests_say_is_shown_as_it_is(failed: Run) -> None:
    text, seen = rendered(failed)
    assert "<no> here" in seen.text
    assert "<no> here" not in text


def test_every_result_is_a_row_that_a_filter_finds(failed: Run) -> None:
    _, seen = rendered(failed)
    rows = [attrs for _, attrs in seen.tags if "data-outcome" in attrs]
    assert sorted(str(row["data-outcome"]) for row in rows) == ["failed", "passed", "skipped"]
    labels = {attrs["for"] for tag, attrs in seen.tags if tag == "label"}
    inputs = {attrs["id"] for tag, attrs in seen.tags if tag == "input"}
    assert labels == inputs >= {"outcome-all", "outcome-failed", "mode-1", "node-1", "node-2"}


def test_all_passed_is_said_and_nothing_did_not_pass(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.test()
    run.end()
    _, seen = rendered(run)
    assert "1 tests passed, none failed" in seen.text
    assert "What did not pass" not in seen.text


def test_a_run_that_was_cut_off_is_not_called_passed(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.test()
    text, seen = rendered(run)
    assert "the run was cut off" in seen.text
    assert 'class="verdict failed"' in text


def test_a_run_without_results_has_a_page(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.end(2)
    _, seen = rendered(run)
    assert "Nothing was tested; the run was cut off" in seen.text
