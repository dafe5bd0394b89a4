"""Artifacts appear whole or not at all, and what changes afterwards is found."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.bundle.runner import BuildError, Runner
from lab.bundle.store import Artifact, Store
from lab.errors import WaitTimeout

DIGEST = "0123456789abcdef" * 4


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def put(store: Store, content: bytes = b"content", trees: tuple[str, ...] = ()) -> Artifact:
    with store.lock("thing"), store.staging("thing") as folder:
        (folder / "out" / "root").mkdir(parents=True)
        (folder / "out" / "file").write_bytes(content)
        (folder / "out" / "root" / "inner").write_bytes(b"inner")
        return store.commit(
            folder / "out",
            name="thing",
            version="1",
            digest=DIGEST,
            seconds=1.25,
            facts={"a": 1},
            trees=trees,
        )


def test_an_artifact_comes_back_as_it_was_put(store: Store) -> None:
    put(store)
    found = store.get("thing", DIGEST)
    assert found is not None
    assert found.folder.name == "thing-0123456789abcdef"
    assert (found.name, found.version, found.digest, found.facts) == ("thing", "1", DIGEST, {"a": 1})
    assert found.manifest["seconds"] == pytest.approx(1.2)
    assert found.manifest["files"]["file"] == {
        "sha256": "ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73",
        "size": 7,
    }
    assert store.all() == [found]
    assert store.verify(found) == []


def test_a_flipped_byte_is_found(store: Store) -> None:
    artifact = put(store)
    path = artifact.folder / "file"
    content = bytearray(path.read_bytes())
    content[3] ^= 1
    path.write_bytes(content)
    (fault,) = store.verify(artifact)
    assert str(path) in fault
    assert "has changed" in fault


def test_a_file_that_is_shorter_or_gone_is_found(store: Store) -> None:
    artifact = put(store)
    (artifact.folder / "file").write_bytes(b"cont")
    (artifact.folder / "root" / "inner").unlink()
    assert len(store.verify(artifact)) == 2


def test_a_change_in_a_tree_is_found(store: Store) -> None:
    artifact = put(store, trees=("root",))
    assert "root/inner" not in artifact.manifest["files"]
    assert store.verify(artifact) == []
    (artifact.folder / "root" / "inner").chmod(0o600)
    assert len(store.verify(artifact)) == 1


def test_a_folder_without_its_list_is_no_artifact_and_is_replaced(store: Store) -> None:
    artifact = put(store)
    (artifact.folder / "artifact.json").unlink()
    assert store.get("thing", DIGEST) is None
    assert store.all() == []
    assert store.verify(put(store)) == []


def test_staging_leaves_nothing_after_an_error(store: Store) -> None:
    def fail() -> None:
        with store.lock("thing"), store.staging("thing") as folder:
            (folder / "half").write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert list((store.root / ".tmp").iterdir()) == []


def test_what_a_killed_builder_left_is_shown_and_removed_by_the_next(store: Store) -> None:
    left = store.root / ".tmp" / "thing@left"
    (left / "sub").mkdir(parents=True)
    (left / "sub" / "file").write_text("half")
    (left / "sub").chmod(0o500)
    other = store.root / ".tmp" / "thing-else@left"
    other.mkdir()
    seen: list[str] = []
    with store.lock("thing", abandon=lambda path: seen.append(path.name)):
        assert not left.exists()
    assert seen == ["thing@left"]
    assert other.exists()


def test_a_lock_that_is_held_is_waited_for_within_bounds(store: Store) -> None:
    with store.lock("thing"), pytest.raises(WaitTimeout), store.lock("thing", wait=0.3):
        pass


def test_a_build_that_is_stopped_waits_for_no_lock(store: Store) -> None:
    runner = Runner()
    runner.stop()
    with (
        store.lock("thing"),
        pytest.raises(BuildError, match="was stopped"),
        store.lock("thing", wait=60, check=runner.check),
    ):
        pass


def test_a_removed_artifact_is_gone(store: Store) -> None:
    store.remove(put(store))
    assert store.all() == []
    assert list((store.root / ".tmp").iterdir()) == []
