"""`lab nightly` on fakes, the suites too: what is run, what a night leaves, and that no lab stays."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fakes import FakePlaybooks, FakeProvider, FakeSource

from lab import paths, suites
from lab.errors import BringUpError, InputError, WaitTimeout
from lab.lock import hold
from lab.nightly import matrix
from lab.nightly.matrix import Matrix
from lab.nightly.results import Cell
from lab.state import LabState
from lab.versions import known

JUNIT = """<testsuite tests="1" failures="{failures}">
<testcase classname="tests.conformance.test_clusterip" name="test_answers" time="1">{failure}</testcase>
</testsuite>"""
FAILURE = '<failure message="AssertionError: nobody answered"/>'
NEWEST = known()[0]


@dataclass
class Nightly:
    """`lab nightly` on one release, and what it left."""

    run: Callable[..., Any]
    output: Path
    broken: Path
    """Is there where a test shall fail."""
    disruptive: Path
    """Is there where some tests shall be disruptive."""

    def __call__(self, *args: str) -> Any:
        return self.run("nightly", "--output", str(self.output), "--kubernetes", NEWEST, *args)

    @property
    def nights(self) -> list[Path]:
        return sorted(path for path in self.output.iterdir() if path.is_dir())


@pytest.fixture
def nightly(
    lab: Callable[..., Any],
    machines: type[FakeProvider],
    source: FakeSource,
    playbooks: FakePlaybooks,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Nightly:
    del machines, source, playbooks
    broken, disruptive = tmp_path / "broken", tmp_path / "disruptive"

    def run(
        _state: object, _provider: object, *, mode: str, folder: Path, part: str, **_: object
    ) -> suites.Verdict:
        junit = folder / f"junit-{'-'.join(filter(None, (mode, part)))}.xml"
        junit.write_text(
            JUNIT.format(failures=int(broken.exists()), failure=FAILURE if broken.exists() else "")
        )
        return suites.read(junit, mode=mode, seconds=1.0)

    monkeypatch.setattr(suites, "run", run)

    def check(_name: str, args: Sequence[str]) -> None:
        if "disruptive" in args and not disruptive.exists():
            raise InputError("No test would be run.")

    monkeypatch.setattr(suites, "check", check)
    return Nightly(lab, tmp_path / "nights", broken, disruptive)


def test_a_night_leaves_results_and_no_lab(nightly: Nightly, machines: type[FakeProvider]) -> None:
    said = nightly("--provider", "uml").assert_exit(0)

    (night,) = nightly.nights
    results = json.loads((night / "results.json").read_text())
    assert [cell["cell"]["mode"] for cell in results["cells"]] == ["iptables", "ipvs", "nftables"]
    assert sorted(str(path.relative_to(night)) for path in night.rglob("*.xml")) == [
        f"uml-{NEWEST}/junit-{mode}.xml" for mode in ("iptables", "ipvs", "nftables")
    ]
    assert (night / "summary.md").is_file()
    assert str(nightly.output / "index.html") in said.out
    assert LabState.all() == []
    assert machines.running == {}
    assert list(paths.state().iterdir()) == [], "a lock is left"


def test_what_disturbs_the_cluster_comes_last_in_each_mode(nightly: Nightly) -> None:
    nightly.disruptive.touch()

    said = nightly("--provider", "uml", "--proxy-mode", "ipvs").assert_exit(0)

    (night,) = nightly.nights
    assert {path.name for path in night.rglob("*.xml")} == {"junit-ipvs.xml", "junit-ipvs-disruptive.xml"}
    assert "2 passed, 0 failed, 0 skipped" in said.err


def test_what_came_before_a_failure_to_run_the_rest_is_kept(
    nightly: Nightly, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = suites.run

    def run(*args: Any, **options: Any) -> suites.Verdict:
        if options["part"]:
            raise WaitTimeout("The suites did not end within 10 s.")
        return real(*args, **options)

    monkeypatch.setattr(suites, "run", run)
    nightly.disruptive.touch()

    nightly("--provider", "uml").assert_exit(4)

    (night,) = nightly.nights
    cells = json.loads((night / "results.json").read_text())["cells"]
    assert [(len(cell["tests"]), cell["error"]) for cell in cells] == [
        (1, "The suites did not end within 10 s.")
    ] * 3


def test_quiet_says_nothing_of_a_night_that_was_well(nightly: Nightly) -> None:
    one = ("--provider", "uml", "--proxy-mode", "ipvs", "--quiet")
    said = nightly(*one).assert_exit(0)
    assert (said.out, said.err) == ("", "")
    nightly.broken.touch()

    assert "page: " in nightly(*one).assert_exit(1).out


def test_a_test_that_fails_is_exit_code_1_and_told_the_next_night(nightly: Nightly) -> None:
    nightly("--provider", "uml", "--proxy-mode", "ipvs").assert_exit(0)
    nightly.broken.touch()

    said = nightly("--provider", "uml", "--proxy-mode", "ipvs").assert_exit(1)

    assert "failed: clusterip/answers at all: AssertionError: nobody answered" in said.err
    first, second = nightly.nights
    assert "This is the first night." in (first / "summary.md").read_text()
    assert "### Newly failing\n- `clusterip/answers`: uml 1.37 ipvs" in (second / "summary.md").read_text()
    assert list(second.rglob("evidence-ipvs.tar.gz"))


def test_a_lab_that_does_not_come_up_is_exit_code_3_and_taken_down(
    nightly: Nightly, playbooks: FakePlaybooks
) -> None:
    playbooks.error = BringUpError("kubeadm did not come to its end.")

    said = nightly("--provider", "uml").assert_exit(3)

    assert "kubeadm did not come to its end." in said.err
    (night,) = nightly.nights
    cells = json.loads((night / "results.json").read_text())["cells"]
    assert [cell["error"].partition(":")[0].split(".")[0] for cell in cells] == [
        "kubeadm did not come to its end",
        "not reached",
        "not reached",
    ]
    assert LabState.all() == []


def test_interrupted_it_takes_the_lab_down_and_keeps_what_it_learned(
    nightly: Nightly, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = suites.run, []

    def run(*args: Any, **options: Any) -> suites.Verdict:
        calls.append(options["mode"])
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(*args, **options)

    monkeypatch.setattr(suites, "run", run)

    nightly("--provider", "uml").assert_exit(130)

    (night,) = nightly.nights
    results = json.loads((night / "results.json").read_text())
    assert (results["interrupted"], [cell["cell"]["mode"] for cell in results["cells"]]) == (
        True,
        ["iptables"],
    )
    assert "interrupted: not every cell" in (night / "summary.md").read_text()
    assert LabState.all() == []


def test_the_lab_of_a_killed_night_is_taken_down_first(nightly: Nightly) -> None:
    LabState("elsewhere").new_run("nightly")  # killed when it had another name

    said = nightly("--provider", "uml", "--proxy-mode", "ipvs").assert_exit(0)

    assert "The night before was killed: taking its lab 'elsewhere' down first." in said.err
    assert LabState.all() == []


def test_a_lab_of_the_users_own_is_not_touched(nightly: Nightly) -> None:
    LabState("nightly").new_run("up")

    said = nightly("--provider", "uml").assert_exit(2)

    assert "There is a lab 'nightly', and no night raised it; nothing was touched." in said.err
    assert LabState("nightly").exists()
    assert not nightly.output.exists()


def test_a_second_night_at_once_is_refused_and_told_who_runs(nightly: Nightly) -> None:
    def busy(holder: str) -> BringUpError:
        return BringUpError(holder)

    with hold(paths.state() / ".nightly", verb="lab nightly", busy=busy):
        said = nightly("--provider", "uml").assert_exit(3)

    assert "Another night is being run." in said.err
    assert "lab nightly (process " in said.err
    assert not nightly.output.exists()


def test_a_lock_is_free_when_its_holder_was_killed(tmp_path: Path) -> None:
    file = tmp_path / "lock"
    script = (
        "import pathlib, time\nfrom lab.lock import hold\n"
        f"with hold(pathlib.Path({str(file)!r}), verb='first', busy=RuntimeError):\n"
        "    print('held', flush=True)\n    time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with (
            pytest.raises(BringUpError, match=rf"first \(process {holder.pid}\)"),
            hold(file, verb="second", busy=BringUpError),
        ):
            pass
        holder.kill()
        holder.wait(10)
    with hold(file, verb="third", busy=BringUpError):
        assert file.read_text().startswith("third")
    assert not file.exists()


def test_the_lab_is_prepared_before_its_first_suites(nightly: Nightly) -> None:
    break_it = f'test -f "$KUBECONFIG" && test "$LAB_NAME" = nightly && touch {nightly.broken}'

    nightly("--provider", "uml", "--proxy-mode", "ipvs", "--prepare", break_it).assert_exit(1)
    nightly.broken.unlink()
    said = nightly("--provider", "uml", "--proxy-mode", "ipvs", "--prepare", "echo no such thing; exit 4")

    said.assert_exit(3)
    assert "no such thing" in said.err


def test_results_and_history_are_kept_for_so_many_days(nightly: Nightly) -> None:
    old = nightly.output / "2020-01-01T013000Z"
    old.mkdir(parents=True)
    (old / "results.json").write_text("{}")
    (nightly.output / "something-else").mkdir()

    nightly("--provider", "uml", "--proxy-mode", "ipvs", "--keep-history", "7").assert_exit(0)

    assert not old.exists()
    assert (nightly.output / "something-else").exists()


def test_the_results_of_a_cis_jobs_become_one_night(nightly: Nightly, tmp_path: Path) -> None:
    jobs = tmp_path / "jobs"
    for mode, code in (("iptables", 0), ("nftables", 1)):
        nightly.output = jobs / mode
        nightly("--provider", "uml", "--proxy-mode", mode).assert_exit(code)
        nightly.broken.touch()
    whole = tmp_path / "whole"

    nightly.run("nightly", "--from", str(jobs), "--output", str(whole)).assert_exit(1)

    (night,) = (path for path in whole.iterdir() if path.is_dir())
    assert {path.name for path in night.glob(f"uml-{NEWEST}/*.xml")} == {
        "junit-iptables.xml",
        "junit-nftables.xml",
    }
    assert (
        "| ✓ 1 passed, 0 failed, 0 skipped | ✗ 0 passed, 1 failed, 0 skipped |"
        in (night / "summary.md").read_text()
    )
    nothing = nightly.run("nightly", "--from", str(tmp_path / "work"), "--output", str(whole)).assert_exit(2)
    assert "There are no results to collect." in nothing.err


def test_a_host_that_can_serve_nothing_says_why(nightly: Nightly, machines: type[FakeProvider]) -> None:
    machines.wrong = ["no user namespaces"]

    said = nightly("--provider", "uml").assert_exit(5)

    assert f"uml, Kubernetes {NEWEST}: provider uml: no user namespaces" in said.err
    assert "podman, Kubernetes" in nightly("--list").assert_exit(5).err


def test_a_provider_that_cannot_be_served_is_left_out_or_refused_if_named(
    nightly: Nightly, machines: type[FakeProvider], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machines, "faults", lambda self: ["no root"] * (self.config.provider == "podman"))

    said = nightly("--list").assert_exit(0)

    there = [line.split()[0] for line in said.out.splitlines()]
    assert "uml" in there
    assert "podman" not in there
    assert f"cannot serve it: podman, Kubernetes {NEWEST}: provider podman: no root" in said.err
    nightly("--list", "--provider", "podman", "--provider", "uml").assert_exit(5)


def test_list_shows_the_matrix_and_runs_nothing(nightly: Nightly) -> None:
    said = nightly("--list", "--proxy-mode", "ipvs", "--proxy-mode", "nftables").assert_exit(0)

    rows = [line.split() for line in said.out.splitlines()]
    assert rows[0] == ["PROVIDER", "KUBERNETES", "MODES"]
    assert rows[1:3] == [[name, NEWEST, "ipvs", "nftables"] for name in ("uml", "podman")]
    assert not nightly.output.exists()


def test_flags_beat_the_file_axis_by_axis(tmp_path: Path) -> None:
    file = tmp_path / "matrix.yaml"
    file.write_text('{providers: [uml], kubernetes: ["1.36"], modes: [ipvs], exclude: [{mode: ipvs}]}')

    loaded = matrix.load(file, providers=["podman"], kubernetes=[], modes=[])

    assert loaded == Matrix(
        providers=("podman",), kubernetes=("1.36",), modes=("ipvs",), exclude=({"mode": "ipvs"},)
    )


def test_every_fault_of_a_matrix_is_told_at_once(nightly: Nightly, tmp_path: Path) -> None:
    file = tmp_path / "matrix.yaml"
    file.write_text("{modes: [ipv], exclude: [{node: node01}]}")

    said = nightly("--matrix", str(file), "--provider", "kvm").assert_exit(2)

    for fault in ("providers: kvm is not known", "did you mean ipvs?", "exclude[0].node is no axis"):
        assert fault in said.err


@pytest.mark.parametrize(
    ("exclude", "out"),
    [
        ({"provider": "podman"}, True),
        ({"kubernetes": "1.36"}, True),
        ({"kubernetes": "1.36.3", "mode": "ipvs"}, True),
        ({"kubernetes": "1.37", "mode": "ipvs"}, False),
        ({"mode": "iptables"}, False),
    ],
)
def test_exclude_describes_cells_by_all_its_keys(exclude: dict[str, str], out: bool) -> None:
    assert Matrix(exclude=(exclude,)).leaves_out(Cell("podman", "1.36.3", "ipvs")) is out


@pytest.mark.parametrize("minor", matrix.minors())
def test_a_minor_means_its_release(minor: str) -> None:
    assert matrix.release(minor) in known()
    assert matrix.release(minor).startswith(f"{minor}.")
