"""Commands of this host: what they say, how they fail, that none outlives its time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lab import leftovers, shell
from lab.errors import Exit, PrerequisiteError, WaitTimeout


def gone(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return True
    return status in "ZX"


def soon_gone(pid: int) -> bool:
    """Whether it ends within 10 seconds: one that was killed still has to be given the processor."""
    deadline = time.monotonic() + 10
    while not gone(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    return gone(pid)


def test_what_a_command_says() -> None:
    result = shell.run(["sh", "-c", "echo out; echo err >&2"], timeout=10)

    assert (result.stdout, result.stderr, result.ok) == ("out\n", "err\n", True)


def test_input_and_environment() -> None:
    result = shell.run(["sh", "-c", "cat; echo $COLOUR"], timeout=10, input="in ", env={"COLOUR": "red"})

    assert result.stdout == "in red\n"


def test_a_failure_can_be_pasted_and_shows_the_last_words() -> None:
    with pytest.raises(shell.CommandError) as caught:
        shell.run(["sh", "-c", "echo 'no way' >&2; exit 3"], timeout=10)

    assert str(caught.value).splitlines() == [
        "A command failed: it exited with 3.",
        "  - sh -c 'echo '\"'\"'no way'\"'\"' >&2; exit 3'   (exited with 3)",
        "  - no way",
    ]
    assert caught.value.code == Exit.BRING_UP_FAILED


def test_a_failure_may_be_looked_at_instead() -> None:
    assert shell.run(["false"], timeout=10, check=False).returncode == 1


def test_a_program_that_is_not_there() -> None:
    with pytest.raises(PrerequisiteError, match="no program 'no-such-program'"):
        shell.run(["no-such-program"], timeout=10)


def test_a_command_that_does_not_end_is_ended_with_its_children(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    script = f"sleep 60 & echo $! > {note}; echo begun; wait"
    begun = time.monotonic()

    with pytest.raises(WaitTimeout) as caught:
        shell.run(["sh", "-c", script], timeout=1)

    assert time.monotonic() - begun < 20
    assert str(caught.value).splitlines()[0] == "A command did not end within 1 s."
    assert "begun" in caught.value.details
    assert soon_gone(int(note.read_text()))


def test_a_log_gains_both_outputs(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "build.log"
    shell.run(["echo", "one"], timeout=10, log=log)
    result = shell.run(["sh", "-c", "echo two >&2"], timeout=10, log=log)

    assert log.read_text() == "one\ntwo\n"
    assert result.stdout == "two\n"


def test_the_tail_leaves_out_blank_lines_at_the_end() -> None:
    assert shell.tail("a\nb\nc\n\n\n", 2) == ["b", "c"]


@pytest.mark.parametrize("prefix", [[], ["env"]])
def test_a_tethered_command_ends_with_whoever_started_it(tmp_path: Path, prefix: list[str]) -> None:
    note = tmp_path / "pid"
    child = shell.tethered(prefix, ["sh", "-c", f"echo $$ > {note}.new; mv {note}.new {note}; exec sleep 60"])
    parent = subprocess.Popen([sys.executable, "-c", f"import subprocess; subprocess.run({child!r})"])
    deadline = time.monotonic() + 30
    while not note.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    parent.send_signal(signal.SIGKILL)
    parent.wait(10)

    assert soon_gone(int(note.read_text()))


def test_what_outlived_a_run_is_found_by_its_mark_and_ended(tmp_path: Path) -> None:
    run = tmp_path / "lab" / "runs" / "1-up"
    mine = subprocess.Popen(
        ["sleep", "60"], env={**os.environ, **leftovers.mark(run)}, start_new_session=True
    )
    other = subprocess.Popen(["sleep", "60"], env={**os.environ, **leftovers.mark(tmp_path / "lab2")})
    try:
        assert leftovers.find(tmp_path / "lab") == [mine.pid]
        assert leftovers.end(tmp_path / "lab") == [mine.pid]
        assert mine.wait(10) == -signal.SIGKILL
        assert other.poll() is None
    finally:
        other.kill()
        other.wait(10)
    assert leftovers.end(tmp_path / "lab") == []
