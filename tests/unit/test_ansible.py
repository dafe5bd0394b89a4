"""Playbooks: what is shown of them, what a failure says. Run for real on this host, by the plain strategy."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fakes import FakeProvider

from lab import ansible, inventory, leftovers, paths
from lab.ansible_events import Events, said
from lab.config import load
from lab.errors import BringUpError, WaitTimeout
from lab.progress import Progress
from lab.state import LabState

PLAYBOOK = """
- name: Try
  hosts: all
  tasks:
    - name: Say something
      ansible.builtin.command: echo {{ proxy_mode }} {{ node_address }} {{ word }}
    - name: Sleep
      ansible.builtin.shell: touch {{ begun | default("/dev/null") }}; sleep {{ seconds | default(0) }}
      changed_when: false
    - name: Go wrong
      ansible.builtin.shell: echo out; echo err >&2; exit 3
      when: wrong | default(false)
"""

Play = Callable[..., ansible.Run]


class Here(FakeProvider):
    """Every node is this host."""

    def host_vars(self, node: str) -> dict[str, object]:
        del node
        return {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}


@pytest.fixture
def play(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Play:
    folder = tmp_path / "playbooks"
    folder.mkdir()
    (folder / "try.yml").write_text(PLAYBOOK)
    monkeypatch.setattr(paths, "share", tmp_path.joinpath)
    monkeypatch.setenv("LAB_ANSIBLE", "plain")
    monkeypatch.setenv("ANSIBLE_STRATEGY", "no_such_strategy")  # how the user sets Ansible up elsewhere
    (tmp_path / "lab.yaml").write_text("nodes: [{name: master, address: 192.168.1.200}]\n")
    config, state = load(tmp_path / "lab.yaml"), LabState("lab")

    def run(timeout: int = 60, **extravars: Any) -> ansible.Run:
        return ansible.run_playbook(
            "try",
            config=config,
            state=state,
            provider=Here(config, state),
            extravars={"word": "two words", **extravars},
            progress=Progress(quiet=True),
            folder=tmp_path / "run",
            timeout=timeout,
        )

    return run


def test_a_run_tells_what_it_changed_and_keeps_its_artifacts(play: Play) -> None:
    run = play()

    assert run.changed == {"master": 1}
    assert run.changed_tasks == ("Say something — master",)
    assert run.printed == {"Say something": {"master": ("iptables 192.168.1.200 two words",)}}
    assert [task for task, _ in run.timings] == [
        "Say something — master",
        "Sleep — master",
        "Go wrong — master",
    ]
    assert "Say something" in (run.folder / "timings.txt").read_text()
    events = "".join(path.read_text() for path in (run.folder / "artifacts/run/job_events").glob("*.json"))
    assert "iptables 192.168.1.200 two words" in events


def test_a_failure_names_task_host_and_words(play: Play, tmp_path: Path) -> None:
    with pytest.raises(BringUpError) as caught:
        play(wrong=True)

    lines = str(caught.value).splitlines()
    assert lines[:3] == [
        "The playbook try failed on master.",
        "  - Go wrong — master",
        "      command: echo out; echo err >&2; exit 3",
    ]
    assert "      err" in lines
    assert "      out" in lines
    assert lines[-1] == f"  - kept for reading: {tmp_path / 'run' / 'try'}"


def test_a_run_that_takes_too_long_is_ended_with_its_processes(play: Play, tmp_path: Path) -> None:
    with pytest.raises(WaitTimeout, match="The playbook try was ended after 4 s in all"):
        play(timeout=4, seconds=60)

    assert leftovers.find(tmp_path) == []


def test_ctrl_c_ends_the_run_and_its_processes(play: Play, tmp_path: Path) -> None:
    begun = tmp_path / "begun"

    def interrupt() -> None:
        deadline = time.monotonic() + 50
        while not begun.exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        play(seconds=60, begun=str(begun))

    assert leftovers.find(tmp_path) == []


def test_the_inventory_says_how_each_node_is_reached() -> None:
    config, state = load(None), LabState("lab")
    found = inventory.hosts(config, state, FakeProvider(config, state))["all"]

    assert found["vars"]["ansible_ssh_common_args"] == f"-F {state.ssh_config}"
    assert list(found["children"]["nodes"]["hosts"]) == ["node01", "node02"]
    assert found["children"]["master"]["hosts"]["master"] == {
        "ansible_host": "192.168.1.200",
        "node_address": "192.168.1.200",
        "ansible_user": "root",
        "ansible_ssh_private_key_file": str(state.ssh_key),
    }


def test_failures_that_are_ignored_are_none() -> None:
    shown: list[str] = []
    events = Events(show=shown.append)
    failed = {
        "event": "runner_on_failed",
        "event_data": {"task": "a", "host": "h", "ignore_errors": True, "res": {}},
    }

    assert events.handle(failed)
    assert events.failures == []
    assert events.handle({"event": "runner_on_start", "event_data": {"task": "b", "host": "h"}})
    assert shown == ["b — h"]


def test_what_the_items_of_a_loop_say() -> None:
    result = {
        "msg": "One or more items failed",
        "results": [
            {"item": 1},
            {"item": 2, "failed": True, "cmd": ["kubectl", "wait"], "stderr": "timed out"},
        ],
    }

    assert said(result) == ("One or more items failed", "item 2:", "command: kubectl wait", "timed out")
