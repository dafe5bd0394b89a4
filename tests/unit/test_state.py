"""A lab's folder on this host."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from lab import paths
from lab.config import Config, load
from lab.errors import BringUpError, InputError
from lab.state import LabState, read_json, write_json


def test_making_the_object_touches_nothing(state: LabState) -> None:
    assert not state.exists()
    assert not paths.state().exists()
    assert LabState.all() == []


def test_names_that_lead_elsewhere_are_refused() -> None:
    with pytest.raises(InputError):
        LabState("../other")


def test_the_configuration_as_used_is_remembered(state: LabState) -> None:
    assert state.read_config() is None
    state.make()
    config = load(None, {"proxy.mode": "ipvs"})
    state.write_config(config)

    assert state.read_config() == config


def test_a_broken_note_says_so_and_how_to_go_on(state: LabState) -> None:
    state.make()
    state.config_file.write_text('{"name": "la')
    with pytest.raises(InputError) as caught:
        state.read_config()

    assert str(caught.value).splitlines()[0] == f"{state.config_file} is not JSON."
    assert caught.value.fix == "lab down"


def test_everything_is_private_and_goes_with_the_lab(state: LabState) -> None:
    state.make()
    write_json(state.ports_file, {"api": 1})

    assert state.dir.stat().st_mode & 0o077 == 0
    assert state.ports_file.stat().st_mode & 0o077 == 0
    assert state.sockets_dir.stat().st_mode & 0o077 == 0
    state.remove()
    assert not state.dir.exists()
    assert not state.sockets_dir.exists()
    state.remove()  # again: nothing to do


def test_ssh_sockets_have_short_paths(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBE_SERVICE_LAB_STATE", "/" + "long/" * 40)
    monkeypatch.setattr("tempfile.gettempdir", lambda: "/" + "t" * 90)

    # a unix socket's path ends at 108 bytes, and ssh adds 17 while it makes one
    assert len(str(LabState("a-lab").sockets_dir / ("n" * 15))) + 17 < 108


def test_a_sockets_folder_of_somebody_else_is_refused(state: LabState) -> None:
    state.sockets_dir.mkdir(mode=0o755)
    state.sockets_dir.chmod(0o755)
    try:
        with pytest.raises(BringUpError, match="not a private folder"):
            state.make_sockets_dir()
    finally:
        state.sockets_dir.rmdir()


def test_all_labs_by_name_half_made_ones_included() -> None:
    for name in ("b", "a"):
        LabState(name).dir.mkdir(parents=True)
    (paths.state() / ".hidden").mkdir()
    (paths.state() / "no_lab").mkdir()

    assert [lab.name for lab in LabState.all()] == ["a", "b"]


def test_two_commands_never_hold_a_lab_at_once(state: LabState) -> None:
    state.make()
    with state.lock(verb="lab up"), pytest.raises(BringUpError) as caught, state.lock(verb="lab down"):
        pass

    assert caught.value.what == "The lab 'lab' is busy."
    assert caught.value.details[0].startswith("lab up (process ")
    with state.lock():
        pass
    state.remove()


def test_a_killed_command_lets_go_of_the_lab(state: LabState) -> None:
    state.make()
    script = (
        "import os, signal; from lab.state import LabState\n"
        "with LabState('lab').lock(): os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False, timeout=60).returncode == -9

    with state.lock(verb="lab down"):
        state.remove()
    assert list(paths.state().iterdir()) == []


def test_a_lock_of_a_lab_that_never_was_leaves_no_file(state: LabState) -> None:
    with state.lock():
        pass

    assert list(paths.state().iterdir()) == []


def test_runs_have_folders_of_their_own(state: LabState) -> None:
    state.make()
    folders = [state.new_run("up") for _ in range(3)]

    assert len(set(folders)) == 3
    assert all(folder.is_dir() and "-up" in folder.name for folder in folders)
    state.remove()


def test_json_is_whole_or_not_there(tmp_path: Path) -> None:
    file = tmp_path / "a" / "b.json"
    assert read_json(file) is None
    write_json(file, {"x": 1})
    write_json(file, {"x": 2})

    assert read_json(file) == {"x": 2}
    assert [path.name for path in file.parent.iterdir()] == ["b.json"]
    file.write_text("[]")
    with pytest.raises(InputError, match="not a JSON object"):
        read_json(file)


def test_a_lab_knows_its_own_name_only() -> None:
    assert LabState(Config().name).dir == paths.state() / "lab"
