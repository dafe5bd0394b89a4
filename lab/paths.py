"""Where things are: what ships with the project, what is cached, and what belongs to one lab."""

from __future__ import annotations

import contextlib
import os
from datetime import UTC, datetime
from pathlib import Path

import platformdirs

from lab.errors import BringUpError

APP = "kube-service-lab"


def share(*parts: str) -> Path:
    """What ships with the project: `playbooks`, `bundle`, `tests/conformance`, `docs/workshop`.

    In a checkout it is the top-level folder of that name; in an installed wheel it is inside the package.
    """
    package = Path(__file__).resolve().parent
    checkout = package.parent
    root = checkout if (checkout / "pyproject.toml").is_file() else package / "_share"
    return root.joinpath(*parts)


def cache() -> Path:
    """The cache of built artifacts: `$KUBE_SERVICE_LAB_CACHE`, else the XDG cache folder."""
    chosen = os.environ.get("KUBE_SERVICE_LAB_CACHE")
    return Path(chosen).absolute() if chosen else Path(platformdirs.user_cache_path(APP))


def state() -> Path:
    """The folder that holds one folder a lab: `$KUBE_SERVICE_LAB_STATE`, else the XDG state folder."""
    chosen = os.environ.get("KUBE_SERVICE_LAB_STATE")
    return Path(chosen).absolute() if chosen else Path(platformdirs.user_state_path(APP))


def nights() -> Path:
    """Where `lab nightly` writes unless told: the XDG data folder."""
    return Path(platformdirs.user_data_path(APP)) / "nightly"


def fresh(within: Path, suffix: str) -> Path:
    """A new folder `STAMPSUFFIX` for what a run leaves behind, this user's alone; the stamp is UTC.

    Raises:
        BringUpError: no name is free.
    """
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    for attempt in range(1000):
        folder = within / (f"{stamp}{suffix}" if attempt == 0 else f"{stamp}{suffix}.{attempt}")
        with contextlib.suppress(FileExistsError):
            folder.mkdir(parents=True, mode=0o700)
            return folder
    raise BringUpError(f"No free folder for a run in {within}.")
