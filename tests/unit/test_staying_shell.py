"""The shell that stays at a place, as the suites give it their scripts: this machine's own."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

HERE = ("sh",)
QUOTED = """a='it is' b='%s\\n'
printf "$a $b" '100%s'"""
PID = "sh -c 'echo $PPID'"


@pytest.fixture
def shell(of_suites: Callable[[str], ModuleType]) -> ModuleType:
    return of_suites("shell")


@pytest.fixture
def shells(shell: ModuleType) -> Iterator[Any]:
    made = shell.Shells()
    yield made
    made.end()


@pytest.mark.parametrize(
    ("command", "status", "out", "err"),
    [
        ("true", 0, "", ""),
        ("echo one; sh -c 'echo two >&2; exit 3'", 3, "one\n", "two\n"),
        ("printf 'no line ends here'", 0, "no line ends here", ""),
        ("printf 'neither does this' >&2", 0, "", "neither does this"),
        ("cat; cat", 0, "", ""),
        (f"sh -c {shlex.quote(QUOTED)}", 0, "it is 100%s\n", ""),
        ("printf '\\377'", 0, "\N{REPLACEMENT CHARACTER}", ""),
    ],
)
def test_what_became_of_a_command(shells: Any, command: str, status: int, out: str, err: str) -> None:
    for _ in range(2):
        result = shells.run(HERE, command, timeout=10)
        assert (result.status, result.out, result.err) == (status, out, err)


def test_long_commands_and_long_answers(shells: Any) -> None:
    text = "0123456789" * 12_000
    assert shells.run(HERE, f"echo {text}; echo {text} >&2", timeout=10).err == f"{text}\n"
    much = shells.run(HERE, "yes | head -n 1000000", timeout=30)
    assert much.out == "y\n" * 1_000_000


def test_one_shell_runs_all_that_comes_after_one_another(shells: Any) -> None:
    first, second = (shells.run(HERE, PID, timeout=10).out for _ in range(2))
    assert first == second


def test_what_is_said_on_the_way_is_not_the_commands(shells: Any) -> None:
    noisy = ("sh", "-c", "echo Welcome; echo Warning >&2; exec sh")
    result = shells.run(noisy, "echo out; echo err >&2", timeout=10)
    assert (result.out, result.err) == ("out\n", "err\n")


def test_commands_at_once_do_not_wait_for_each_other(shells: Any, tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.mkdir()
    meets = (
        f"echo >{there}/$PPID; for _ in $(seq 100); do "
        f"[ $(ls {there} | wc -l) -lt 4 ] || exec echo $PPID; sleep 0.05; done"
    )
    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(lambda _: shells.run(HERE, f"sh -c '{meets}'", timeout=20).out, range(4)))
    assert len(set(done)) == 4


def test_one_that_was_cut_off_is_started_again(shells: Any) -> None:
    before = shells.run(HERE, PID, timeout=10).out
    (idle,) = shells.idle[HERE]
    idle.process.kill()
    idle.process.wait()
    assert shells.run(HERE, PID, timeout=10).out != before


def test_what_had_not_begun_is_run_by_another(shells: Any, tmp_path: Path) -> None:
    """The first to start reads one command and ends at the next, as where the way to it is cut."""
    once = (
        f'if mkdir {tmp_path}/was; then read a; read b; read c; eval "$a\n$b\n$c"; read d; else exec sh; fi'
    )
    place = ("sh", "-c", once)
    assert shells.run(place, "echo first", timeout=10).out == "first\n"
    assert shells.run(place, "echo second", timeout=10).out == "second\n"


def test_what_had_begun_is_not_run_twice(shells: Any, tmp_path: Path) -> None:
    shells.run(HERE, "true", timeout=10)
    with pytest.raises(AssertionError, match=r"(?s)the shell ended with exit code -9: halfway\nin: echo >>"):
        shells.run(HERE, f"echo >>{tmp_path}/runs; echo halfway; kill -9 $$", timeout=10)
    assert (tmp_path / "runs").read_text() == "\n"


def test_what_cannot_be_started_is_told_with_its_last_words(shells: Any) -> None:
    place = (sys.executable, "-c", "import sys; sys.exit('no way')")
    with pytest.raises(AssertionError, match=r"(?s)no shell can be started by .*: .* exit code 1: no way"):
        shells.run(place, "true", timeout=10)


def test_time_is_bounded_and_the_next_is_not_answered_by_the_late_one(shells: Any) -> None:
    started = time.monotonic()
    with pytest.raises(AssertionError, match=r"not done after 0.5 s: echo part; sleep 5\npart"):
        shells.run(HERE, "echo part; sleep 5", timeout=0.5)
    assert shells.run(HERE, "echo next", timeout=10).out == "next\n"
    assert time.monotonic() - started < 10


def test_none_is_left(shell: ModuleType) -> None:
    shells = shell.Shells()
    shells.run(HERE, "true", timeout=10)
    (idle,) = shells.idle[HERE]
    shells.end()
    assert idle.process.returncode == 0
