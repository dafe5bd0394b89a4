"""Where machines run, and how they are waited for."""

from __future__ import annotations

import os
import time
from ipaddress import IPv4Interface
from pathlib import Path

import pytest

from lab import ssh, user_mode
from lab.errors import BringUpError, WaitTimeout


@pytest.mark.parametrize(
    ("processors", "lab", "expected"),
    [
        ({0}, 0, [0, 0, 0]),
        ({0}, 5, [0, 0, 0]),
        ({0, 1}, 0, [0, 1, 1]),
        ({0, 1}, 1, [1, 0, 0]),
        ({2, 5, 7}, 0, [2, 5, 7]),
        ({2, 5, 7}, 1, [5, 7, 2]),
        ({2, 5, 7}, 3, [2, 5, 7]),
    ],
)
def test_the_master_has_a_processor_of_its_own_and_labs_take_turns(
    monkeypatch: pytest.MonkeyPatch, processors: set[int], lab: int, expected: list[int]
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: processors)
    assert user_mode.pins(3, lab) == expected


@pytest.mark.parametrize(
    ("pin", "begins", "roams"), [(5, ["taskset", "--cpu-list", "5"], ["roam=2,5,7"]), (None, ["/linux"], [])]
)
def test_a_machine_on_one_processor_may_change_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, pin: int | None, begins: list[str], roams: list[str]
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {7, 2, 5})
    address, gateway = IPv4Interface("192.168.1.201/24"), IPv4Interface("192.168.1.1/24")
    machine = user_mode.Machine("node01", address, 2048, 1, pin, tmp_path, tmp_path / "disk.img")
    words = machine.argv(Path("/linux"), link="vm1", gateway=gateway, public_key="ssh-ed25519 AAAA")
    assert words[: len(begins)] == begins
    assert [word for word in words if word.startswith("roam=")] == roams


def test_a_machine_that_ended_is_not_waited_for(tmp_path: Path) -> None:
    begun = time.monotonic()
    with pytest.raises(BringUpError, match="node01 ended"):
        ssh.wait(["false"], tmp_path, ["node01"], timeout=60, running=lambda: {"master"})
    assert time.monotonic() - begun < 10


def test_a_wait_for_machines_ends_and_names_those_that_do_not_answer(tmp_path: Path) -> None:
    with pytest.raises(WaitTimeout) as late:
        ssh.wait(["sh", "-c", "echo no way >&2; exit 1"], tmp_path, ["a", "b"], timeout=0.2)
    assert list(late.value.details) == ["a: no way", "b: no way"]
