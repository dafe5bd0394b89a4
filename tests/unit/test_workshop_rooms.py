"""A workshop: who is in it, what is refused, bounded parallelism, and that one failure stops no other."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fakes import FakeProvider, FakeSource

from lab import host, memory
from lab.config import Config
from lab.errors import BringUpError, InputError, PrerequisiteError
from lab.progress import Progress
from lab.state import LabState
from lab.workshop import crew, handout, labs, run
from lab.workshop.labs import Workshop

Run = Callable[..., Any]
QUIET = Progress(quiet=True)


def workshop(*students: str, **settings: Any) -> Workshop:
    return Workshop("ws", students or ("ana", "ben"), Config.model_validate({"name": "ws", **settings}))


def test_students_by_number() -> None:
    assert labs.students("3", "ws") == ("1", "2", "3")
    with pytest.raises(InputError, match="1 to 99"):
        labs.students("0", "ws")


def test_students_by_name(tmp_path: Path) -> None:
    file = tmp_path / "names"
    file.write_text("# the class\nAna\n\nben   # late\n")
    assert labs.students(str(file), "ws") == ("ana", "ben")


def test_every_name_that_cannot_be_one_is_told(tmp_path: Path) -> None:
    file = tmp_path / "names"
    file.write_text("ana\nana\nmuch-too-long-a-name\nben müller\n")
    with pytest.raises(InputError) as error:
        labs.students(str(file), "ws")
    assert [detail.partition(":")[0] for detail in error.value.details] == ["line 2", "line 3", "line 4"]
    with pytest.raises(InputError, match="neither a number nor a file"):
        labs.students(str(tmp_path / "none"), "ws")
    file.write_text("\n# nobody\n")
    with pytest.raises(InputError) as error:
        labs.students(str(file), "ws")
    assert "there is no name in it" in error.value.details[0]


def test_the_record_is_kept_and_forgotten() -> None:
    there = workshop()
    assert Workshop.load("ws") is None
    there.save()
    assert Workshop.load("ws") == there
    assert Workshop.all() == ["ws"]
    assert LabState.all() == []  # its folder is no lab
    there.forget()
    assert (Workshop.load("ws"), Workshop.all()) == (None, [])


def test_a_broken_record_says_how_to_go_on() -> None:
    there = workshop()
    there.save()
    (there.folder / "workshop.json").write_text('{"students": 1}')
    with pytest.raises(InputError, match="cannot be understood") as error:
        Workshop.load("ws")
    assert "lab down --name ws-STUDENT" in str(error.value.fix)


def test_students_are_added_and_other_settings_refused() -> None:
    workshop("ana").save()
    assert run.plan("ws", ("ben", "ana"), workshop().config).students == ("ana", "ben")
    with pytest.raises(InputError, match="other settings") as error:
        run.plan("ws", ("ana",), workshop(machine={"memory": 4096}).config)
    assert error.value.details == ("machine.memory: is 2048, asked for is 4096",)


def test_a_port_by_number_is_refused() -> None:
    with pytest.raises(InputError) as error:
        run.refuse_fixed_ports(workshop(forward={"api": 7000, "node_ports": {30000: 8080}}).config)
    assert error.value.details == ("forward.api: 7000", "forward.node_ports.30000: 8080")


def test_memory_for_all_of_them_is_asked_for_at_once(
    machines: type[FakeProvider], source: FakeSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    del source
    monkeypatch.setattr(host, "memory_available", lambda: 5000)
    monkeypatch.setattr(host, "disk_free", lambda _: 10**6)
    there = workshop("a", "b", "c", machine={"memory": 1024})
    with pytest.raises(PrerequisiteError) as error:
        run.check_the_host(there, QUIET, install_missing=False)
    assert error.value.details == (
        "memory: 5000 MiB available, 9216 MiB wanted: 3 labs of 3 machines of 1024; there is room for 1",
    )
    for student in ("a", "b"):  # what runs has its memory
        state = there.lab(student)
        state.make()
        state.write_config(there.config_of(student))
        machines.running[state.name] = {"master"}
    run.check_the_host(there, QUIET, install_missing=False)


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stands in for `lab`: a file of shell commands that gets its words; `say` is a log of who ran when."""
    script = tmp_path / "program"
    say = tmp_path / "say"
    script.write_text(f'#!/bin/sh\necho "begin $5 $*" >> {say}\n. {tmp_path}/body\necho "end $5" >> {say}\n')
    script.chmod(0o755)
    (tmp_path / "body").write_text("sleep 0.3\n")
    monkeypatch.setattr(sys, "executable", str(script))
    return tmp_path


def jobs(program: Path, *students: str) -> list[crew.Job]:
    return [crew.Job(one, ("up", "--name", one), program / one / "log") for one in students]


def test_a_few_at_a_time(program: Path) -> None:
    done = crew.run(jobs(program, "a", "b", "c", "d"), QUIET, parallel=2, cwd=program)
    assert [(one.job.student, one.code) for one in done] == [(name, 0) for name in "abcd"]
    running, most = 0, 0
    for line in (program / "say").read_text().splitlines():
        running += 1 if line.startswith("begin") else -1
        most = max(most, running)
    assert most == 2


def test_a_failure_stops_no_other(program: Path) -> None:
    (program / "body").write_text('if [ "$5" = a ]; then echo "error: no disk"; exit 3; fi\n')
    one, two = crew.run(jobs(program, "a", "b"), QUIET, parallel=1, cwd=program)
    assert (one.code, one.why, two.ok) == (3, "no disk", True)


def test_a_job_that_does_not_end_is_ended(program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crew, "JOB_TIMEOUT", 0.5)
    (program / "body").write_text("sleep 60\n")
    begun = time.monotonic()
    (one,) = crew.run(jobs(program, "a"), QUIET, parallel=1, cwd=program)
    assert (one.ok, one.why) == (False, "it did not end within 0.5 s")
    assert time.monotonic() - begun < 10


def test_interrupted_all_that_run_are_ended(program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (program / "body").write_text(f"echo $$ >> {program}/pids; exec sleep 60\n")

    def interrupt(_seconds: float) -> None:
        if (program / "pids").exists():
            raise KeyboardInterrupt

    monkeypatch.setattr(crew, "pause", interrupt)
    with pytest.raises(KeyboardInterrupt):
        crew.run(jobs(program, "a"), QUIET, parallel=1, cwd=program)
    (pid,) = (program / "pids").read_text().split()
    assert not Path(f"/proc/{pid}").exists()


def test_what_failed_is_told_and_the_rest_has_its_handouts(
    program: Path, machines: type[FakeProvider]
) -> None:
    del machines
    there = workshop()
    there.save()
    (program / "body").write_text('case "$*" in *ws-ana*) echo "error: broken"; exit 3;; esac\n')
    with pytest.raises(BringUpError, match="1 of 2 labs failed; the others are up") as error:
        run.each(there, QUIET, "up", there.students, parallel=1)
    assert error.value.details[0].startswith("ana: broken   (")
    assert [there.handout(student).is_file() for student in there.students] == [False, True]


def test_what_is_not_said_of_a_lab_that_is_there_stays(program: Path) -> None:
    there = workshop()
    there.save()
    there.lab("ana").make()
    there.lab("ana").write_config(there.config_of("ana").with_mode("ipvs"))
    run.each(there, QUIET, "up", there.students, parallel=1)
    said = [line for line in (program / "say").read_text().splitlines() if line.startswith("begin")]
    assert "--config" not in said[0]  # ana switched the mode of hers
    assert f"--config {there.folder}/lab.json" in said[1]


def test_what_cannot_be_taken_down_is_still_on_record(program: Path) -> None:
    there = workshop()
    there.save()
    (program / "body").write_text('case "$*" in *ws-ana*) echo "error: stuck"; exit 3;; esac\n')
    with pytest.raises(BringUpError):
        run.down(there, QUIET)
    assert Workshop.load("ws") == there
    (program / "body").write_text("true\n")
    run.down(there, QUIET)
    assert Workshop.load("ws") is None


def test_status_of_labs_that_are_not_well(machines: type[FakeProvider]) -> None:
    there = workshop("ana", "ben", "cid")
    there.lab("ben").make()
    there.lab("ben").write_config(there.config_of("ben"))
    machines.running["ws-ben"] = {"master"}
    there.lab("cid").make()
    there.lab("cid").config_file.write_text("{")
    ana, ben, cid = run.status(there)
    assert (ana["problem"], ana["machines"]) == ("not raised yet", None)
    assert (ben["problem"], ben["machines"], ben["proxy_mode"]) == ("raised half-way", "1/3", "iptables")
    assert "is not JSON" in cid["problem"]


def test_memory_counts_what_processes_below_hold() -> None:
    grown = "import time; x = bytearray(60 << 20); print('ready', flush=True); time.sleep(60)"
    with subprocess.Popen(
        ["sh", "-c", '"$0" -c "$1"; true', sys.executable, grown],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        try:
            assert 60 <= memory.used([child.pid]) < 120
        finally:
            os.killpg(child.pid, signal.SIGKILL)


def test_the_handout_needs_nothing_but_itself() -> None:
    there = workshop()
    page = handout.render(
        "ana",
        "ws",
        config=there.config_of("ana"),
        kubeconfig=Path("/state/ws-ana/kubeconfig"),
        ports={"api": 36443, "30000": 31000},
    )
    assert "<script" not in page
    assert "http://127.0.0.1:31000" in page
    assert "KUBE_SERVICE_LAB_NAME=ws-ana" in page
    assert 'href="#lesson-2"' in page
    assert '<article id="lesson-10">' in page
    assert "<b>$ lab kubectl -- get service web</b>" in page
    assert "&lt;pod-1&gt;" in page
    for attribute in (' src="', "@import", "url("):
        assert attribute not in page


def test_the_verbs(lab: Run, machines: type[FakeProvider], source: FakeSource) -> None:
    del machines, source
    assert "how many students?" in lab("workshop", "up").assert_exit(2).err
    assert "There is no workshop 'ws'" in lab("workshop", "status").assert_exit(2).err
    assert "nothing to take down" in lab("workshop", "down").assert_exit(0).err
    workshop().save()
    assert "did you mean ana?" in lab("workshop", "reset", "anna").assert_exit(2).err
    said = lab("workshop", "status").assert_exit(0).out.splitlines()
    assert said[0].split() == ["STUDENT", "LAB", "MACHINES", "READY", "PROXY", "MODE", "MEMORY", "PORTS"]
    assert "ana: not raised yet" in said
    (first, _) = json.loads(lab("workshop", "status", "-o", "json").assert_exit(0).out)
    assert first["lab"] == "ws-ana"


def test_the_environment_may_say_which_lab_is_meant(lab: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBE_SERVICE_LAB_NAME", "ws-ana")
    assert "There is no lab 'ws-ana'" in lab("status").assert_exit(2).err
    assert "There is no lab 'other'" in lab("status", "--name", "other").assert_exit(2).err


def test_lessons_at_the_terminal(lab: Run) -> None:
    assert lab("lesson", "list").assert_exit(0).out.splitlines()[0].split() == ["N", "LESSON", "MODE"]
    assert lab("lesson", "show", "1").assert_exit(0).out.startswith("# 1. ClusterIP")
    assert "There is no lesson 11" in lab("lesson", "show", "11").assert_exit(2).err
    assert "There is no lab 'lab'" in lab("lesson", "check", "1").assert_exit(2).err
