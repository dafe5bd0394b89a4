"""What the store keeps for nobody: artifacts of earlier recipes that no lab is made of."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from lab.bundle.builder import Builder
from lab.bundle.store import Artifact, Store
from lab.state import LabState

PROC = Path("/proc")


def current(artifact: Artifact, builders: Iterable[Builder]) -> bool:
    """Whether the recipes, as they are now, give this artifact for any of these Kubernetes releases."""
    known = (builder for builder in builders if artifact.name in builder.components.by_name)
    return any(builder.digest(artifact.name) == artifact.digest for builder in known)


def stale(store: Store, builders: Iterable[Builder]) -> list[Artifact]:
    """The artifacts that are not current, and that neither a process nor a lab of this user's mentions."""
    builders = list(builders)
    old = [artifact for artifact in store.all() if not current(artifact, builders)]
    used = {name for text in _mentions() for name in _named(text, old)}
    return [artifact for artifact in old if artifact.folder.name not in used]


def _named(text: bytes, artifacts: Iterable[Artifact]) -> Iterator[str]:
    for artifact in artifacts:
        # The name alone, which has part of the digest: there is more than one way to write a path.
        if artifact.folder.name.encode() in text:
            yield artifact.folder.name


def _mentions() -> Iterator[bytes]:
    """What may name a folder of the store: a machine's disk, a container's root, a lab's record.

    Processes of others say their command lines to everyone, and their mounts to root alone.
    """
    for process in PROC.iterdir():
        if process.name.isdigit():
            for part in ("cmdline", "mountinfo"):
                with contextlib.suppress(OSError):
                    yield (process / part).read_bytes()
    for lab in LabState.all():
        with contextlib.suppress(OSError):
            yield lab.told_file.read_bytes()
