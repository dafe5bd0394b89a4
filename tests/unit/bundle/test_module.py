"""The kind `module`, with a Go module that needs no network."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from fake_kind import builder_of, write_recipe

from lab.bundle.kinds import go
from lab.errors import LabError
from lab.progress import Progress

pytestmark = pytest.mark.skipif(go.host_go() is None, reason="this host has no Go")
QUIET = Progress(quiet=True)


@pytest.fixture
def recipes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A recipe that builds a program of another module and takes a file of it."""
    monkeypatch.setenv("GOPROXY", "off")
    shipped = tmp_path / "shipped"
    (shipped / "hello").mkdir(parents=True)
    (shipped / "go.mod").write_text("module example.org/shipped\n\ngo 1.21.0\n")
    (shipped / "hello" / "main.go").write_text('package main\n\nfunc main() { print("hello") }\n')
    (shipped / "config").mkdir()
    (shipped / "config" / "objects.yaml").write_text("kind: Namespace\n")
    (shipped / "config" / "objects.yaml").chmod(0o444)  # as Go's module cache has them
    folder = write_recipe(tmp_path / "recipes", "shipped", **VALUES)
    (folder / "go.mod").write_text(
        "module example.org/recipe\n\ngo 1.21.0\n\nrequire example.org/shipped v1.2.3\n\n"
        f"replace example.org/shipped => {shipped}\n"
    )
    (folder / "tools.go").write_text(
        '//go:build tools\n\npackage tools\n\nimport _ "example.org/shipped/hello"\n'
    )
    return tmp_path / "recipes"


VALUES: dict[str, object] = {
    "kind": "module",
    "version": "1.2.3",
    "module": "example.org/shipped",
    "packages": {"hello": "example.org/shipped/hello"},
    "files": {"objects.yaml": "config/objects.yaml"},
}


def test_programs_and_files_of_the_version_that_go_mod_names(recipes: Path, tmp_path: Path) -> None:
    builder = builder_of(recipes, tmp_path / "cache")
    builder.ensure(["shipped"], QUIET)
    artifact = builder.built("shipped")
    said = subprocess.run([artifact.folder / "bin" / "hello"], capture_output=True, check=True, timeout=20)
    assert said.stderr == b"hello"
    assert (artifact.folder / "objects.yaml").read_text() == "kind: Namespace\n"
    assert artifact.version == "1.2.3"


def test_a_recipe_that_says_another_version_is_refused(recipes: Path, tmp_path: Path) -> None:
    write_recipe(recipes, "shipped", **{**VALUES, "version": "1.2.4"})
    builder = builder_of(recipes, tmp_path / "cache")
    with pytest.raises(LabError) as caught:
        builder.ensure(["shipped"], QUIET)
    assert "The recipe of shipped says v1.2.4, its go.mod v1.2.3." in str(caught.value)


def test_a_file_that_the_module_does_not_have(recipes: Path, tmp_path: Path) -> None:
    write_recipe(recipes, "shipped", **{**VALUES, "files": {"objects.yaml": "config/none.yaml"}})
    builder = builder_of(recipes, tmp_path / "cache")
    with pytest.raises(LabError) as caught:
        builder.ensure(["shipped"], QUIET)
    assert "example.org/shipped v1.2.3 gives no config/none.yaml." in str(caught.value)
    assert builder.artifact("shipped") is None
