"""Running the suites: verdicts, exit codes, and that nothing outlives the command. With a real pytest."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fakes import FakeProvider

from lab import leftovers, paths, suites
from lab.config import load
from lab.errors import InputError, WaitTimeout
from lab.state import LabState

CONFTEST = 'def pytest_addoption(parser):\n    parser.addoption("--lab")\n'
TESTS = """
import time, pathlib, pytest

def test_right(pytestconfig):
    assert pytestconfig.getoption("--lab") == "lab"

def test_wrong():
    assert not "wrong"

def test_left_out():
    pytest.skip("not here")

def test_slow(tmp_path_factory):
    note = pathlib.Path(__file__).with_name("put-back")
    note.with_name("begun").write_text("yes")
    try:
        time.sleep(120)
    finally:
        note.write_text("yes")
"""

WORKERS = """
import os, pathlib, pytest

@pytest.mark.parametrize("number", range(6))
def test_where(number):
    with pathlib.Path(__file__).with_suffix(".workers").open("a") as file:
        print(os.environ["PYTEST_XDIST_WORKER"], file=file)
"""

Run = Callable[..., suites.Verdict]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    folder = tmp_path / "tests" / "conformance"
    folder.mkdir(parents=True)
    (folder / "conftest.py").write_text(CONFTEST)
    (folder / "test_it.py").write_text(TESTS)
    monkeypatch.setattr(paths, "share", tmp_path.joinpath)
    config, state = load(None), LabState("lab")
    results = tmp_path / "results"
    results.mkdir()

    def go(*args: str, timeout: float = 60, log: Path | None = None) -> suites.Verdict:
        provider = FakeProvider(config, state)
        return suites.run(state, provider, mode="ipvs", args=args, folder=results, timeout=timeout, log=log)

    return go


def test_a_verdict_counts_what_ran(run: Run) -> None:
    verdict = run("-k", "not slow")

    assert (verdict.mode, verdict.passed, verdict.failed, verdict.skipped) == ("ipvs", 1, 1, 1)
    assert not verdict.ok
    assert verdict.junit.name == "junit-ipvs.xml"


def test_with_a_log_nothing_is_said_here(run: Run, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    run("-k", "wrong", log=tmp_path / "pytest.log")

    assert capfd.readouterr() == ("", "")
    assert "1 failed" in (tmp_path / "pytest.log").read_text()


def test_tests_named_by_the_user_replace_the_whole(run: Run) -> None:
    verdict = run("test_it.py::test_right")

    assert (verdict.passed, verdict.failed, verdict.ok) == (1, 0, True)


def test_one_of_several_workers_gets_the_whole_of_a_file(run: Run, tmp_path: Path) -> None:
    """Or each of them would make what a file's fixtures make."""
    suites_folder = tmp_path / "tests" / "conformance"
    for name in ("a", "b"):
        (suites_folder / f"test_{name}.py").write_text(WORKERS)

    verdict = run("-n", "2", "test_a.py", "test_b.py")

    assert verdict.passed == 12
    workers = {name: (suites_folder / f"test_{name}.workers").read_text().split() for name in ("a", "b")}
    assert {len(set(seen)) for seen in workers.values()} == {1}
    assert len({seen[0] for seen in workers.values()}) == 2


@pytest.mark.parametrize("args", [("-k", "nothing_like_it"), ("--no-such-option",)])
def test_nothing_to_run_is_bad_input(run: Run, args: tuple[str, ...]) -> None:
    with pytest.raises(InputError, match="No test was run"):
        run(*args)


@pytest.mark.parametrize("args", [("-k", "nothing_like_it"), ("--no-such-option",), ("test_gone.py",)])
def test_arguments_are_checked_without_a_lab(run: Run, args: tuple[str, ...]) -> None:
    del run
    with pytest.raises(InputError, match="No test would be run") as caught:
        suites.check("lab", args)

    assert caught.value.details, "what pytest says"
    suites.check("lab", ["test_it.py", "-k", "right"])


def test_suites_that_do_not_end_are_ended(run: Run, tmp_path: Path) -> None:
    with pytest.raises(WaitTimeout):
        run("-k", "slow", timeout=3)

    assert leftovers.find(tmp_path) == []


@pytest.fixture
def when() -> Iterator[Callable[[Callable[[], bool]], None]]:
    """Ctrl-C as soon as something holds."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in jobs in the background

    def interrupt(holds: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 50
        while not holds() and time.monotonic() < deadline:
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)

    yield lambda holds: threading.Thread(target=interrupt, args=(holds,), daemon=True).start()
    signal.signal(signal.SIGINT, before)


def test_ctrl_c_lets_the_tests_put_back_what_they_changed(
    run: Run, tmp_path: Path, when: Callable[[Callable[[], bool]], None]
) -> None:
    when((tmp_path / "tests" / "conformance" / "begun").exists)

    with pytest.raises(KeyboardInterrupt):
        run("-k", "slow")

    assert leftovers.find(tmp_path) == []
    assert (tmp_path / "tests" / "conformance" / "put-back").exists()


def test_ctrl_c_before_pytest_has_begun_ends_it_as_soon_as_it_has(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: Callable[[Callable[[], bool]], None]
) -> None:
    """Not after the grace of its fixtures, by a signal that leaves them no time."""
    monkeypatch.setattr(FakeProvider, "operator", lambda _: ["sh", "-c", 'sleep 1; exec "$@"', "sh"])
    when(lambda: bool(leftovers.find(tmp_path)))

    begun = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        run("-k", "slow")

    assert time.monotonic() - begun < suites.GRACE / 2
    assert leftovers.find(tmp_path) == []
    assert not (tmp_path / "tests" / "conformance" / "begun").exists()


def test_every_test_module_has_a_name_of_its_own() -> None:
    """`tox -e test` collects both folders in one run, and pytest imports their modules by these names."""
    tests = Path(__file__).parents[1]
    modules = [path.name for folder in ("unit", "lab") for path in (tests / folder).rglob("test_*.py")]
    assert sorted(set(modules)) == sorted(modules)
