"""Provider ssh without machines: how they are reached, whose they are, and when nothing is touched."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lab import ansible, inventory, nodes, shell
from lab.config import Config, from_values
from lab.errors import BringUpError, InputError
from lab.providers.ssh import SshProvider
from lab.state import LabState

NODES = [
    {"name": "a", "address": "10.0.0.1"},
    {"name": "b", "address": "10.0.0.2", "ssh": {"user": "root", "port": 2222, "host": "b.example"}},
    {"name": "c", "address": "10.0.0.3", "ssh": {"become": False}},
    {"name": "d", "address": "10.0.0.4"},
]


def config(**more: object) -> Config:
    return from_values({"provider": "ssh", "ssh": {"user": "alice"}, "nodes": NODES, **more})


@pytest.fixture
def provider(state: LabState) -> SshProvider:
    state.make()
    return SshProvider(config(), state)


class Machines:
    """Machines that have the stamps they are told to have; None answers nothing."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, owners: dict[str, str | None]) -> None:
        self.owners, self.reset = owners, list[str]()
        monkeypatch.setattr(nodes, "run", self.run)
        monkeypatch.setattr(ansible, "run_playbook", self.play)

    def run(self, *_: object, **__: object) -> dict[str, shell.Result]:
        return {
            name: shell.Result(
                (), 0 if owner is not None else 255, f"@\n{owner}\n" if owner is not None else "", "", 0
            )
            for name, owner in self.owners.items()
        }

    def play(self, name: str, *, limit: str, **_: object) -> None:
        assert name == "reset"
        self.reset = limit.split(",")


def stamp(state: LabState, text: str = "lab 1234 me") -> str:
    state.make()
    (state.dir / "owner").write_text(text + "\n")
    state.ssh_config.write_text("")
    return text


def test_any_number_of_machines_is_a_lab(provider: SshProvider) -> None:
    hosts = inventory.hosts(provider.config, provider.state, provider)["all"]
    assert list(hosts["children"]["nodes"]["hosts"]) == ["b", "c", "d"]
    assert hosts["vars"]["machines_stay"] is True


def test_each_machine_is_reached_as_it_is_said(provider: SshProvider) -> None:
    variables = {node: provider.host_vars(node) for node in "abcd"}
    assert variables["a"]["ansible_user"] == "alice"
    assert variables["a"]["ansible_become"] is True
    assert variables["b"]["ansible_user"] == "root"
    assert "ansible_become" not in variables["b"]
    assert "ansible_become" not in variables["c"]
    assert dict(provider._settings["b"])["hostname"] == "b.example"
    assert dict(provider._settings["b"])["port"] == "2222"
    assert provider.become("a") == ("sudo", "-n")
    assert nodes.argv(provider.state, provider, "a", "id")[-1] == "sudo -n id"
    assert nodes.argv(provider.state, provider, "a")[-1] == "sudo -n -i"
    assert nodes.argv(provider.state, provider, "b")[-1] == "b"


def test_a_key_that_is_not_there_is_a_fault_before_anyone_is_asked(state: LabState, tmp_path: Path) -> None:
    ssh = {"user": "alice", "key": str(tmp_path / "none")}
    assert SshProvider(config(ssh=ssh), state).faults() == [f"ssh.key: there is no file {tmp_path / 'none'}"]


def test_without_a_stamp_of_its_own_a_lab_touches_nothing(
    provider: SshProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    machines = Machines(monkeypatch, dict.fromkeys("abcd", "other 1 x"))
    provider.down()
    assert machines.reset == []
    assert set(provider.status().values()) == {"absent"}


def test_down_resets_the_machines_with_its_stamp_and_no_other(
    provider: SshProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = stamp(provider.state)
    machines = Machines(monkeypatch, {"a": mine, "b": "", "c": "other 1 x", "d": mine})
    provider.down()
    assert machines.reset == ["a", "d"]


def test_down_tells_who_does_not_answer(provider: SshProvider, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = stamp(provider.state)
    machines = Machines(monkeypatch, {"a": mine, "b": None, "c": mine, "d": None})
    with pytest.raises(BringUpError) as told:
        provider.down()
    assert machines.reset == ["a", "c"]
    assert "2 of 4 machines do not answer, and were not given back: b, d." in str(told.value)
    assert provider.status() == {"a": "running", "b": "stopped", "c": "running", "d": "stopped"}


def faults_of(**values: Any) -> str:
    with pytest.raises(InputError) as told:
        from_values({"provider": "ssh", **values})
    return str(told.value)


def test_the_machines_must_be_listed() -> None:
    assert "nodes: provider ssh has the machines listed here" in faults_of()
    assert "10.96.0.9 is in kubernetes.service_cidr" in faults_of(
        nodes=[{"name": "a", "address": "10.96.0.9"}]
    )
    assert config(network={"subnet": "192.168.1.0/24"}).nodes[3].name == "d"


def test_what_is_wrong_with_ssh_is_told_with_the_rest() -> None:
    said = faults_of(ssh={"prot": 22, "port": 70000, "become": "perhaps"}, nodes=NODES)
    assert "ssh.prot: unknown key; did you mean port?" in said
    assert "ssh.port: 70000 is more than 65535" in said
    assert "ssh.become: 'perhaps' is neither true nor false" in said
