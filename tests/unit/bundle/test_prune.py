"""What is left over in the store, and what is not."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from fake_kind import builder_of, write_recipe

from lab.bundle import kinds
from lab.bundle.builder import Builder
from lab.bundle.prune import stale
from lab.bundle.store import Artifact
from lab.progress import Progress

QUIET = Progress(quiet=True)


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setitem(kinds.KINDS, "fake", "fake_kind:Fake")
    monkeypatch.setenv("KUBE_SERVICE_LAB_STATE", str(tmp_path / "state"))
    return tmp_path / "state"


@pytest.fixture
def old(tmp_path: Path) -> Artifact:
    """What the recipe made before it was changed."""
    write_recipe(tmp_path / "recipes", "disk", text="old")
    builder = builder_of(tmp_path / "recipes", tmp_path / "cache")
    builder.ensure(["disk"], QUIET)
    return builder.built("disk")


@pytest.fixture
def now(old: Artifact, tmp_path: Path) -> Builder:
    """The recipes as they are, with what they make in the store."""
    del old
    write_recipe(tmp_path / "recipes", "disk", text="new")
    builder = builder_of(tmp_path / "recipes", tmp_path / "cache")
    builder.ensure(["disk"], QUIET)
    return builder


def test_what_an_earlier_recipe_made_is_left_over(old: Artifact, now: Builder) -> None:
    assert stale(now.store, [now]) == [old]
    now.store.remove(old)
    assert stale(now.store, [now]) == []
    assert now.store.all() == [now.built("disk")]


def test_what_any_release_needs_stays(old: Artifact, now: Builder, tmp_path: Path) -> None:
    shutil.copytree(tmp_path / "recipes", tmp_path / "others")
    write_recipe(tmp_path / "others", "disk", text="old")
    other = builder_of(tmp_path / "others", tmp_path / "cache")
    assert other.built("disk") == old
    assert stale(now.store, [now, other]) == []


def test_a_component_that_no_recipe_knows_is_left_over(now: Builder, tmp_path: Path) -> None:
    artifact = now.built("disk")
    shutil.rmtree(tmp_path / "recipes" / "disk")
    write_recipe(tmp_path / "recipes", "other")
    assert artifact in stale(now.store, [builder_of(tmp_path / "recipes", tmp_path / "cache")])


def test_what_a_machine_runs_from_stays(old: Artifact, now: Builder) -> None:
    machine = subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(60)", f"ubd0=cow,{old.folder}/text"]
    )
    try:
        assert stale(now.store, [now]) == []
    finally:
        machine.kill()
        machine.wait()
    assert stale(now.store, [now]) == [old]


def test_what_a_lab_was_made_of_stays(old: Artifact, now: Builder, state: Path) -> None:
    (state / "mine").mkdir(parents=True)
    (state / "mine" / "told.json").write_text(
        json.dumps({"binaries": [{"src": f"{old.folder}/bin/program"}]})
    )
    assert stale(now.store, [now]) == []
