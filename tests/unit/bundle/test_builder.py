"""What is built when, with components that take no time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fake_kind import builder_of, write_recipe

from lab.bundle import host_tools, kinds
from lab.bundle.host_tools import HostTool
from lab.errors import InputError, LabError, PrerequisiteError
from lab.progress import Progress

QUIET = Progress(quiet=True)


@pytest.fixture(autouse=True)
def _fake_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(kinds.KINDS, "fake", "fake_kind:Fake")
    # For builders that are processes of their own.
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))


@pytest.fixture
def recipes(tmp_path: Path) -> Path:
    return tmp_path / "recipes"


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def text_of(root: Path, cache: Path, name: str) -> str:
    builder = builder_of(root, cache)
    builder.ensure([name], QUIET)
    return (builder.built(name).folder / "text").read_text()


def test_a_component_is_built_after_what_it_needs_and_from_it(recipes: Path, cache: Path) -> None:
    write_recipe(recipes, "a", text="a")
    write_recipe(recipes, "group/b", text="b", needs=["a"])
    write_recipe(recipes, "c", text="c", needs=["group-b"])
    assert text_of(recipes, cache, "c") == "abc"


def test_a_family_stands_for_its_member_of_the_chosen_release(recipes: Path, cache: Path) -> None:
    write_recipe(recipes, "kubernetes/1.36", text="old")
    write_recipe(recipes, "kubernetes/1.37", text="new")
    write_recipe(recipes, "image", text="!", needs=["kubernetes"])
    assert text_of(recipes, cache, "image") == "new!"


def test_what_is_there_is_not_built_again(recipes: Path, cache: Path) -> None:
    write_recipe(recipes, "a", text="a")
    text_of(recipes, cache, "a")
    again = builder_of(recipes, cache)
    assert again.missing(["a"]) == []
    assert again.built("a").facts["said"] == "a"


def test_a_finished_component_needs_nothing_of_what_it_was_made_from(recipes: Path, cache: Path) -> None:
    write_recipe(recipes, "a", text="a")
    write_recipe(recipes, "b", text="b", needs=["a"])
    builder = builder_of(recipes, cache)
    builder.ensure(["b"], QUIET)
    builder.store.remove(builder.built("a"))
    assert builder.missing(["b"]) == []


def test_only_what_changed_and_what_is_made_of_it_is_built_again(recipes: Path, cache: Path) -> None:
    folder = write_recipe(recipes, "a", text="a")
    write_recipe(recipes, "b", text="b", needs=["a"])
    write_recipe(recipes, "other", text="o")
    builder_of(recipes, cache).ensure(["b", "other"], QUIET)
    (folder / "patch").write_text("something")
    changed = builder_of(recipes, cache)
    assert [component.name for component in changed.missing(["b", "other"])] == ["a", "b"]


def test_hidden_and_compiled_files_change_nothing(recipes: Path, cache: Path) -> None:
    folder = write_recipe(recipes, "a", text="a")
    before = builder_of(recipes, cache).digest("a")
    (folder / ".swp").write_text("x")
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__" / "x.pyc").write_text("x")
    assert builder_of(recipes, cache).digest("a") == before


def test_the_code_of_the_kind_is_part_of_the_digest(
    recipes: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_recipe(recipes, "a", text="a")
    before = builder_of(recipes, cache).digest("a")
    monkeypatch.setattr("inspect.getsource", lambda _: "other code")
    assert builder_of(recipes, cache).digest("a") != before


def test_missing_host_tools_are_named_all_at_once_before_anything_is_built(
    recipes: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(
        host_tools.TOOLS, "header-dev", HostTool("header-dev", files=("/nonexistent/header.h",))
    )
    write_recipe(recipes, "a", text="a", host_tools=["no-such-program-a"])
    write_recipe(recipes, "b", text="b", needs=["a"], host_tools=["header-dev", "no-such-program-a", "sh"])
    with pytest.raises(PrerequisiteError) as caught:
        builder_of(recipes, cache).ensure(["b"], QUIET)
    assert caught.value.details == ("header-dev", "no-such-program-a")
    assert caught.value.fix is not None
    assert "header-dev no-such-program-a" in caught.value.fix
    assert not cache.exists()


def test_a_failed_build_names_the_component_and_shows_what_it_said(recipes: Path, cache: Path) -> None:
    write_recipe(recipes, "good", text="g")
    write_recipe(recipes, "bad", needs=["good"], command=["sh", "-c", "echo the reason; exit 3"])
    builder = builder_of(recipes, cache)
    with pytest.raises(LabError) as caught:
        builder.ensure(["bad"], QUIET)
    assert "bad could not be built" in caught.value.what
    assert "the reason" in caught.value.details
    assert builder.artifact("good") is not None
    assert builder.artifact("bad") is None


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"kind": "no-such"}, "unknown kind"),
        ({"surprise": 1}, "faults"),
        ({"needs": ["absent"]}, "no component"),
    ],
)
def test_a_bad_recipe_is_refused(recipes: Path, cache: Path, values: dict[str, object], said: str) -> None:
    write_recipe(recipes, "a", **values)
    with pytest.raises(InputError, match=said):
        builder_of(recipes, cache).ensure(["a"], QUIET)


def test_needs_in_a_circle_are_refused(recipes: Path, cache: Path) -> None:
    write_recipe(recipes, "a", needs=["b"])
    write_recipe(recipes, "b", needs=["a"])
    with pytest.raises(InputError, match="circle"):
        builder_of(recipes, cache).ensure(["a"], QUIET)


BUILD = """
import sys
from pathlib import Path
from lab.bundle import kinds
from lab.progress import Progress
from fake_kind import builder_of
kinds.KINDS["fake"] = "fake_kind:Fake"
builder_of(Path(sys.argv[1]), Path(sys.argv[2])).ensure(sys.argv[3:], Progress(quiet=True))
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_killed_in_the_middle_and_run_again(recipes: Path, cache: Path, number: signal.Signals) -> None:
    write_recipe(recipes, "a", text="a", pause=20)
    # Where the tests are a job in the background SIGINT is ignored, for children too.
    argv = ["env", "--default-signal=INT", sys.executable, "-c", BUILD, str(recipes), str(cache), "a"]
    process = subprocess.Popen(argv, stderr=subprocess.DEVNULL)
    halfway = cache / "logs" / "a.halfway"
    deadline = time.monotonic() + 30
    while not halfway.exists():
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(number)
    assert process.wait(30) != 0
    builder = builder_of(recipes, cache)
    assert builder.store.all() == []
    assert builder.artifact("a") is None
    # A killed builder cleans nothing up itself; the next one of the same component does.
    write_recipe(recipes, "a", text="b")
    assert text_of(recipes, cache, "a") == "b"
    assert list((cache / "store" / ".tmp").iterdir()) == []


def test_two_builders_at_once_build_once(recipes: Path, cache: Path) -> None:
    write_recipe(recipes, "a", command=["sh", "-c", f"echo x >> {cache}/count; sleep 0.5"])
    argv = [sys.executable, "-c", BUILD, str(recipes), str(cache), "a"]
    cache.mkdir()
    for process in [subprocess.Popen(argv) for _ in range(2)]:
        assert process.wait(60) == 0
    assert (cache / "count").read_text() == "x\n"


def test_whatever_the_umask_others_may_read(recipes: Path, cache: Path) -> None:
    write_recipe(recipes, "a", text="a")
    before = os.umask(0o077)
    try:
        text_of(recipes, cache, "a")
    finally:
        os.umask(before)
    folder = builder_of(recipes, cache).built("a").folder
    modes = {p.relative_to(folder).as_posix(): f"{p.stat().st_mode & 0o777:o}" for p in folder.rglob("*")}
    assert modes == {"artifact.json": "644", "bin": "755", "bin/program": "755", "text": "644"}
