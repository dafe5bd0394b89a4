"""The store of built artifacts: one folder each, named by content, complete or absent."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from lab.errors import WaitTimeout

MANIFEST = "artifact.json"
LOCK_WAIT = 3600.0


@dataclass(frozen=True)
class Artifact:
    """One built component: its folder and what `artifact.json` says of it."""

    folder: Path
    manifest: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The component's name."""
        return str(self.manifest["name"])

    @property
    def version(self) -> str:
        """The true version of what is inside."""
        return str(self.manifest["version"])

    @property
    def digest(self) -> str:
        """sha256 (hex) of everything it was made from."""
        return str(self.manifest["digest"])

    @property
    def facts(self) -> Mapping[str, Any]:
        """What its kind noted: package versions, an image's name, tools."""
        facts: Mapping[str, Any] = self.manifest["facts"]
        return facts

    @property
    def size(self) -> int:
        """Bytes on the disk, holes not counted."""
        return sum(p.lstat().st_blocks * 512 for p in self.folder.rglob("*") if not p.is_symlink())


@dataclass(frozen=True)
class Store:
    """Artifacts below `root`, each in `<name>-<first 16 digits of its digest>/`.

    A folder appears by one rename when it is complete and on the disk, so whatever is in the store is
    whole. Others may read it: files are 0644 or 0755 whatever the umask.
    """

    root: Path

    def folder(self, name: str, digest: str) -> Path:
        """Where that artifact is, or would be."""
        return self.root / f"{name}-{digest[:16]}"

    def get(self, name: str, digest: str) -> Artifact | None:
        """The artifact, or None if it is not built."""
        return _read(self.folder(name, digest))

    def all(self) -> list[Artifact]:
        """Every artifact, by name, the newest of a name first."""
        found = [a for path in self.root.glob("*/" + MANIFEST) if (a := _read(path.parent))]
        return sorted(found, key=lambda a: (a.name, -float(a.manifest["built"])))

    @contextlib.contextmanager
    def lock(
        self,
        name: str,
        *,
        wait: float = LOCK_WAIT,
        abandon: Callable[[Path], None] = lambda _: None,
        waiting: Callable[[], None] = lambda: None,
        check: Callable[[], None] = lambda: None,
    ) -> Iterator[IO[bytes]]:
        """Hold the right to build `name`; what a killed builder of it left behind is removed.

        The file yielded carries the lock: a child that inherits it keeps the lock while it lives.

        Args:
            name: the component's name.
            wait: seconds for another builder to end.
            abandon: called with each folder that a killed builder left, before it is removed.
            waiting: called once if another builder holds it.
            check: called again and again while it does; what it raises ends the wait.

        Raises:
            WaitTimeout: another builder held it for `wait` seconds.
        """
        folder = self.root / ".locks"
        _make_folder(folder)
        with (folder / name).open("ab") as file:
            deadline = time.monotonic() + wait
            told = False
            while True:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        raise WaitTimeout(f"Another build of {name} did not end within {wait:g} s.") from None
                    if not told:
                        told = True
                        waiting()
                    check()
                    time.sleep(0.2)
            for leftover in (self.root / ".tmp").glob(f"{name}@*"):
                abandon(leftover)
                remove(leftover)
            yield file

    @contextlib.contextmanager
    def staging(self, name: str) -> Iterator[Path]:
        """A folder to build `name` in, on the store's file system; gone afterwards unless committed."""
        _make_folder(self.root / ".tmp")
        folder = Path(tempfile.mkdtemp(prefix=f"{name}@", dir=self.root / ".tmp"))
        folder.chmod(0o755)
        try:
            yield folder
        finally:
            remove(folder)

    def commit(
        self,
        folder: Path,
        *,
        name: str,
        version: str,
        digest: str,
        seconds: float,
        facts: Mapping[str, Any],
        trees: tuple[str, ...] = (),
    ) -> Artifact:
        """Put what is in `folder` (made by `staging`) into the store.

        Args:
            folder: its files become the artifact.
            name: the component's name.
            version: the true version of what is inside.
            digest: sha256 (hex) of everything it was made from.
            seconds: how long it took.
            facts: what its kind notes.
            trees: sub-folders that are a machine's root: kept as they are, listed by one digest each.
        """
        files = {}
        for path in sorted(folder.rglob("*")):
            inside = path.relative_to(folder)
            if inside.parts[0] in trees or path.is_symlink():
                continue
            if path.is_dir():
                path.chmod(0o755)
                continue
            path.chmod(0o755 if path.stat().st_mode & stat.S_IXUSR else 0o644)
            files[inside.as_posix()] = {"sha256": file_digest(path), "size": path.stat().st_size}
            _sync(path)
        manifest = {
            "name": name,
            "version": version,
            "digest": digest,
            "built": time.time(),
            "seconds": round(seconds, 1),
            "facts": dict(facts),
            "files": files,
            "trees": {tree: tree_digest(folder / tree) for tree in trees},
        }
        (folder / MANIFEST).write_text(json.dumps(manifest, indent=2, sort_keys=True) + "\n")
        (folder / MANIFEST).chmod(0o644)
        if trees:
            os.sync()
        _sync(folder / MANIFEST)
        _sync(folder)
        target = self.folder(name, digest)
        if target.exists():  # without a manifest: not of our making, or damaged by hand
            remove(target)
        folder.rename(target)
        _sync(self.root)
        return Artifact(target, manifest)

    def verify(self, artifact: Artifact) -> list[str]:
        """Read the artifact again and say what differs from its list; empty if nothing does."""
        faults = []
        for inside, said in artifact.manifest["files"].items():
            path = artifact.folder / inside
            if not path.is_file():
                faults.append(f"{path} is missing")
            elif path.stat().st_size != said["size"]:
                faults.append(f"{path} has {path.stat().st_size} bytes instead of {said['size']}")
            elif file_digest(path) != said["sha256"]:
                faults.append(f"{path} has changed: its sha256 is not {said['sha256']}")
        for inside, digest in artifact.manifest["trees"].items():
            if not (artifact.folder / inside).is_dir() or tree_digest(artifact.folder / inside) != digest:
                faults.append(f"{artifact.folder / inside} has changed or is missing")
        return faults

    def remove(self, artifact: Artifact) -> None:
        """Take an artifact out of the store, whole at once."""
        with self.lock(artifact.name), self.staging(artifact.name) as folder:
            artifact.folder.rename(folder / "removed")


def file_digest(path: Path) -> str:
    """sha256 (hex) of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def tree_digest(root: Path) -> str:
    """sha256 (hex) over paths, modes, owners, link targets and bytes of a folder's content."""
    total = hashlib.sha256()
    for path in sorted(root.rglob("*")):
        info = path.lstat()
        words = [path.relative_to(root).as_posix(), f"{info.st_mode:o}", str(info.st_uid), str(info.st_gid)]
        if stat.S_ISLNK(info.st_mode):
            words.append(str(path.readlink()))
        elif stat.S_ISREG(info.st_mode):
            words.append(file_digest(path))
        total.update("\0".join(words).encode(errors="surrogateescape") + b"\n")
    return total.hexdigest()


def remove(folder: Path) -> None:
    """Remove a folder, one with read-only folders inside too (Go's module cache, a machine's root)."""
    if not folder.is_dir():
        return
    for path, names, _ in os.walk(folder):
        for name in names:
            inside = Path(path, name)
            if not inside.is_symlink() and inside.stat().st_mode & stat.S_IRWXU != stat.S_IRWXU:
                with contextlib.suppress(PermissionError):
                    inside.chmod(0o700)
    shutil.rmtree(folder)


def _read(folder: Path) -> Artifact | None:
    try:
        return Artifact(folder, json.loads((folder / MANIFEST).read_text()))
    except (FileNotFoundError, NotADirectoryError, json.JSONDecodeError):
        return None


def _make_folder(path: Path) -> None:
    if not path.is_dir():
        path.mkdir(parents=True, exist_ok=True)
        path.chmod(0o755)


def _sync(path: Path) -> None:
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
