"""A container image as one docker-archive tar: one layer, a config, a manifest; the same bytes each time."""

from __future__ import annotations

import copy
import hashlib
import io
import json
import posixpath
import tarfile
from collections.abc import Callable, Iterable, Mapping
from fnmatch import fnmatch
from pathlib import Path

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Layer:
    """A layer being written, uncompressed. Paths are absolute paths in the image."""

    def __init__(self, target: Path) -> None:
        self._tar = tarfile.open(target, "w", format=tarfile.PAX_FORMAT)  # noqa: SIM115 -- closed by `close`
        self._known: set[str] = set()

    def root(self, source: Path, exclude: Iterable[str] = ()) -> None:
        """Everything of a root's tar file but devices and what `exclude` (globs) matches."""
        patterns = tuple(exclude)
        with tarfile.open(source) as tar:
            for entry in tar:
                name = posixpath.normpath(entry.name).lstrip("/")
                if name == "." or entry.isdev() or _matches(name, patterns):
                    continue
                file = tar.extractfile(entry) if entry.isreg() else None
                content = copy.copy(entry)
                content.name = name
                if entry.islnk():
                    content.linkname = posixpath.normpath(entry.linkname).lstrip("/")
                self._add(content, file.read() if file else None)

    def file(self, path: str, content: bytes, mode: int = 0o755) -> None:
        """A regular file, with the folders above it."""
        self._folders(path)
        entry = tarfile.TarInfo(path.lstrip("/"))
        entry.size, entry.mode = len(content), mode
        self._add(entry, content)

    def link(self, path: str, target: str) -> None:
        """A symbolic link, with the folders above it; left out where the image has that path already."""
        if path.lstrip("/") in self._known:
            return
        self._folders(path)
        entry = tarfile.TarInfo(path.lstrip("/"))
        entry.type, entry.linkname, entry.mode = tarfile.SYMTYPE, target, 0o777
        self._add(entry, None)

    def folder(self, path: str, mode: int = 0o755) -> None:
        """A folder, with those above it."""
        self._folders(path)
        if path.strip("/") not in self._known:
            entry = tarfile.TarInfo(path.strip("/"))
            entry.type, entry.mode = tarfile.DIRTYPE, mode
            self._add(entry, None)

    def close(self) -> None:
        """Finish the tar file."""
        self._tar.close()

    def _folders(self, path: str) -> None:
        parts = path.strip("/").split("/")[:-1]
        for count in range(1, len(parts) + 1):
            name = "/".join(parts[:count])
            if name not in self._known:
                entry = tarfile.TarInfo(name)
                entry.type, entry.mode = tarfile.DIRTYPE, 0o755
                self._add(entry, None)

    def _add(self, entry: tarfile.TarInfo, content: bytes | None) -> None:
        entry.mtime, entry.uname, entry.gname = 0, "", ""
        entry.pax_headers = {}
        self._known.add(entry.name)
        self._tar.addfile(entry, io.BytesIO(content) if content is not None else None)


def write(
    target: Path,
    scratch: Path,
    *,
    reference: str,
    fill: Callable[[Layer], None],
    entrypoint: Iterable[str] = (),
    env: Mapping[str, str] | None = None,
) -> None:
    """Write an image that `ctr images import` and every other tool takes.

    Args:
        target: the tar file.
        scratch: a folder for the layer while it is made.
        reference: name and tag, such as `kube-service-lab.local/etcd:3.7.3`.
        fill: puts the content into the layer.
        entrypoint: the program and its first arguments.
        env: variables, besides PATH.
    """
    path = scratch / "layer.tar"
    layer = Layer(path)
    fill(layer)
    layer.close()
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    config = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "created": "1970-01-01T00:00:00Z",
            "config": {
                "Entrypoint": list(entrypoint) or None,
                "Env": [f"{key}={value}" for key, value in {"PATH": PATH, **(env or {})}.items()],
                "WorkingDir": "/",
            },
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
            "history": [{"created": "1970-01-01T00:00:00Z", "created_by": "kube-service-lab"}],
        },
        sort_keys=True,
    ).encode()
    name = hashlib.sha256(config).hexdigest() + ".json"
    manifest = json.dumps(
        [{"Config": name, "RepoTags": [reference], "Layers": [f"{digest}/layer.tar"]}]
    ).encode()
    with tarfile.open(target, "w", format=tarfile.PAX_FORMAT) as tar:
        for inside, content in ((name, config), ("manifest.json", manifest)):
            entry = tarfile.TarInfo(inside)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
        entry = tarfile.TarInfo(f"{digest}/layer.tar")
        entry.size = path.stat().st_size
        with path.open("rb") as file:
            tar.addfile(entry, file)


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(
        fnmatch(name, pattern) or name.startswith(pattern.rstrip("*").rstrip("/") + "/")
        for pattern in patterns
    )
