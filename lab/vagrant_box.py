"""The box that `lab box build` makes, as Vagrant knows it: a name, a version, and whether it is there."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from lab import shell
from lab.bundle.store import MANIFEST

NAME = "kube-service-lab"
#: Where the bundle has it: component and file.
PART = ("node-box", f"{NAME}.box")
TIMEOUT = 600


def version(file: Path, kubernetes: str) -> str:
    """The version that Vagrant knows a box by: Kubernetes' own, and a number that another box does not have.

    Vagrant and its libvirt plugin keep copies by name and version: a new box must not hide behind an old one.

    Args:
        file: the box, in its folder of the store.
        kubernetes: such as `1.37.2`.
    """
    digest = str(json.loads((file.parent / MANIFEST).read_text())["digest"])
    return f"{kubernetes}.{int(digest[:8], 16)}"


def add(file: Path, kubernetes: str) -> str:
    """Give Vagrant a box, unless it has it; returns the version.

    Raises:
        CommandError: Vagrant did not take it.
    """
    wanted = version(file, kubernetes)
    with tempfile.TemporaryDirectory() as folder:
        # Away from any Vagrantfile, none is read.
        env = {"VAGRANT_CWD": folder, "VAGRANT_CHECKPOINT_DISABLE": "1"}
        there = shell.run(["vagrant", "box", "list", "--machine-readable"], timeout=TIMEOUT, env=env).stdout
        words = [line.split(",")[-1] for line in there.splitlines()]
        if (NAME, "libvirt", wanted) not in zip(words, words[1:], words[2:], strict=False):
            catalog = Path(folder) / "box.json"
            provider = {"name": "libvirt", "url": file.absolute().as_uri()}
            entry = {"name": NAME, "versions": [{"version": wanted, "providers": [provider]}]}
            catalog.write_text(json.dumps(entry))
            argv: list[str | Path] = ["vagrant", "box", "add", "--provider", "libvirt", catalog]
            shell.run(argv, timeout=TIMEOUT, env=env)
    return wanted
