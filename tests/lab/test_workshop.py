"""A workshop from beginning to end: two students, one breaks a lab, the other never notices."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from harness import Lab, MakeLab

from lab.netns import Namespace

STUDENTS = ("ana", "ben")


@pytest.fixture
def place(make_lab: MakeLab) -> Lab:
    """A state folder of the test's own; its `lab down` finds nothing, and then nothing may be left in it."""
    return make_lab("class")


def provider() -> str:
    return "podman" if os.geteuid() == 0 and shutil.which("podman") else "uml"


def look(place: Lab) -> dict[str, Any]:
    found = json.loads(place.run("workshop", "status", "-o", "json").assert_success().stdout)
    return {one["student"]: one for one in found}


def member(place: Lab, student: str) -> Lab:
    """The same folders, seen as the lab of one student."""
    return Lab(f"ws-{student}", place.root)


def boot(lab: Lab) -> str:
    """What tells one life of a lab from the next: the process that keeps its namespaces."""
    namespace = Namespace.load(lab.folder / "machines.json")
    assert namespace is not None
    return f"{namespace.pid} {namespace.started}"


def answers(lab: Lab, *, timeout: float = 60) -> str:
    """What mytest's Service says on a node of the lab: the pod's name tells one lab's from another's.

    While another lab is raised the processors are busy, and readiness probes, which have a second, may time
    out: a Service whose pods are all unready refuses, and is back seconds later.
    """
    where = ("get", "service", "mytest-svc", "--output=jsonpath={.spec.clusterIP}")
    address = lab.named("kubectl", "--", *where).assert_success().stdout
    end = time.monotonic() + timeout
    while True:
        said = lab.named("exec", "node01", "--", "curl", "-sS", "-m", "5", f"http://{address}/")
        if said.exit == 0:
            return said.stdout
        seen = lab.named("kubectl", "--", "get", "pods,endpointslices,events", "-A", "-o", "wide")
        assert time.monotonic() < end, f"{said}\n{seen}"
        print(said, seen, sep="\n")
        time.sleep(2)


@pytest.mark.timeout(900)
def test_two_students(place: Lab) -> None:
    try:
        names = place.root / "names"
        names.write_text("Ana\nben\n")
        settings = ("--provider", provider(), "--memory", "1152")
        up = place.run("workshop", "up", "--students", str(names), *settings, timeout=600).assert_success()
        labs = {student: member(place, student) for student in STUDENTS}
        there = look(place)
        assert {one["ready"] for one in there.values()} == {"3/3"}, there
        assert {one["problem"] for one in there.values()} == {None}, there
        assert all(100 < one["memory"] < 3 * 1152 for one in there.values()), there

        # The same addresses, ports and kubeconfigs of their own, and a page each that says them.
        assert not set(there["ana"]["ports"].values()) & set(there["ben"]["ports"].values()), there
        for student, lab in labs.items():
            page = Path(there[student]["handout"]).read_text()
            assert f"KUBE_SERVICE_LAB_NAME=ws-{student}" in page
            assert f"https://127.0.0.1:{there[student]['ports']['api']}" in page
            assert "192.168.1.201" in page
            status = lab.named("status", "-o", "json").assert_success().json()
            assert [node["address"][-3:] for node in status["nodes"]] == ["200", "201", "202"]
            assert there[student]["handout"] in up.stdout
        pods = {student: answers(lab).split(" | ")[1] for student, lab in labs.items()}
        assert pods["ana"] != pods["ben"]

        # Ana's lab breaks, thoroughly; Ben's goes on, and `status` says who needs help.
        before = boot(labs["ben"])
        machines = Namespace.load(labs["ana"].folder / "machines.json")
        assert machines is not None
        os.kill(machines.pid, signal.SIGKILL)
        (labs["ana"].folder / "config.json").write_text("{")
        there = look(place)
        assert "is not JSON" in there["ana"]["problem"], there
        assert (there["ben"]["ready"], there["ben"]["problem"]) == ("3/3", None), there
        assert answers(labs["ben"]).startswith("Hello Kubernetes bootcamp!")

        # `up` cannot mend that, says so, and looks after Ben's all the same.
        again = place.run("workshop", "up", timeout=300).assert_exit(3)
        assert "1 of 2 labs failed; the others are up." in again.stderr, str(again)
        assert "lab workshop reset --name ws STUDENT" in again.stderr
        assert "ben: done" in again.stderr

        # A fresh one for her alone.
        place.run("workshop", "reset", "ana", timeout=400).assert_success()
        there = look(place)
        assert {one["ready"] for one in there.values()} == {"3/3"}, there
        assert answers(labs["ana"]).startswith("Hello Kubernetes bootcamp!")
        assert boot(labs["ben"]) == before
    finally:
        down = place.run("workshop", "down", timeout=200)
    down.assert_success()
    # Nothing is left: the fixture looks at everything else.
    assert place.run("list").assert_success().stdout.splitlines()[1:] == []
    assert sorted(place.state.iterdir()) == []
