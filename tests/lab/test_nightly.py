"""`lab nightly` for real, three times: killed, well, and with a fault in the cluster, which it names."""

from __future__ import annotations

import json
import random
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from harness import Lab, MakeLab, Result, can, wait_until_gone

# node01 alone loses the way from mytest-svc to its pods. kube-proxy writes the chain of a Service again only
# when that Service changes, or after an hour.
FAULT = (
    'lab exec --name "$LAB_NAME" node01 -- sh -c '
    "\"iptables-save -t nat | grep -v 'mytest-svc -> ' | iptables-restore -T nat\""
)
CELL = ("--provider", "podman", "--proxy-mode", "iptables", "--kubernetes", "1.37")
SUITES = ("test_clusterip.py", "-k", "greeted or endpoints_are")
BEHAVIOUR = "clusterip/curl is greeted"

pytestmark = pytest.mark.timeout(1800)


@dataclass(frozen=True)
class Nights:
    """What came of the nights, and what was left on the host after each."""

    output: Path
    killed_after: float
    refused: Result
    runner: int
    well: Result
    left_by_well: list[str]
    bad: Result

    @property
    def folders(self) -> list[Path]:
        return sorted(path for path in self.output.iterdir() if path.is_dir())


@pytest.fixture(scope="module")
def nights(make_lab: MakeLab) -> Nights:
    if not can("podman"):
        pytest.skip("the podman provider needs podman and root")
    lab = make_lab("nightly")
    lab.run("doctor", "--provider", "podman", "--install", timeout=900).assert_success()
    lab.run("bundle", "build", "--provider", "podman", timeout=1200).assert_success()
    output = lab.root / "nights"
    words = ("nightly", "--name", lab.name, "--output", str(output), *CELL)
    first = lab.start(*words, *SUITES)
    wait_until_machines_start(lab, first)
    refused = lab.run(*words, *SUITES, timeout=60)
    after = random.uniform(0, 5)
    time.sleep(after)
    assert first.poll() is None, "the first night ended before it could be killed"
    first.kill()
    first.wait(10)
    well = lab.run(*words, *SUITES, timeout=300)
    left = wait_until_gone(lab)
    bad = lab.run(*words, "--prepare", FAULT, *SUITES, timeout=300)
    return Nights(output, after, refused, first.pid, well, left, bad)


def wait_until_machines_start(lab: Lab, process: subprocess.Popen[bytes], *, timeout: float = 120) -> None:
    end = time.monotonic() + timeout
    while not (lab.folder / "nodes" / "master").exists():
        assert process.poll() is None, f"lab nightly ended with {process.returncode}"
        assert time.monotonic() < end, f"no machine was started within {timeout:g} s"
        time.sleep(0.2)


def test_a_second_one_is_refused_and_told_who_runs(nights: Nights) -> None:
    nights.refused.assert_exit(3)
    assert "Another night is being run." in nights.refused.stderr
    assert f"lab nightly (process {nights.runner})" in nights.refused.stderr


def test_the_lab_of_a_killed_night_is_taken_down_by_the_next(nights: Nights) -> None:
    assert "The night before was killed: taking its lab" in nights.well.stderr, f"{nights.killed_after:.1f} s"
    nights.well.assert_success()


def test_a_night_leaves_nothing_but_its_results(nights: Nights) -> None:
    assert nights.left_by_well == []
    interrupted = [
        json.loads((folder / "results.json").read_text())["interrupted"] for folder in nights.folders
    ]
    assert interrupted == [True, False, False]


def test_the_fault_of_the_second_night_is_what_changed(nights: Nights) -> None:
    nights.bad.assert_exit(1)
    assert f"failed: {BEHAVIOUR} at node01: " in nights.bad.stderr
    _, well, bad = nights.folders
    assert "This is the first night." in (well / "summary.md").read_text()
    changed = (bad / "summary.md").read_text().partition("## What changed since last night")[2]
    lines = [line for line in changed.splitlines() if line.startswith(("###", "-"))]
    assert lines[0] == "### Newly failing"
    assert lines[1].startswith(f"- `{BEHAVIOUR}`: podman 1.37 iptables at node01: ")
    assert len(lines) == 2, changed


def test_the_page_tells_both_nights(nights: Nights) -> None:
    page = (nights.output / "index.html").read_text()
    assert "Failed in 1 of 1 cells" in page
    row = page.partition('<span class="name">curl is greeted</span>')[2].partition("</summary>")[0]
    assert row.count("✓</i>") == row.count("✗</i>") == 1
    assert "failed in podman 1.37 iptables at node01" in row


def test_the_evidence_of_the_fault_is_kept(nights: Nights) -> None:
    (archive,) = nights.folders[-1].rglob("evidence-iptables.tar.gz")
    listed = subprocess.run(["tar", "-tzf", archive], capture_output=True, text=True, check=True).stdout
    assert "/node01/rules.txt" in listed
