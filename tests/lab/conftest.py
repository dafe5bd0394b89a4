"""The tool itself, end to end: labs that are raised, used, killed and taken down on this host.

Each lab has a name and a state folder of its own, so that none of the user's is ever touched.
"""

from __future__ import annotations

import secrets
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness import Lab, MakeLab, host_links, wait_until_gone


@pytest.fixture(scope="module")
def make_lab() -> Iterator[MakeLab]:
    """Makes labs; each is taken down at the end, and then nothing of it may be left."""
    labs: list[Lab] = []
    links = host_links()

    def make(label: str) -> Lab:
        # Short: the nodes' unix sockets are in it, and a path to one ends at 108 bytes.
        lab = Lab(f"{label}-{secrets.token_hex(2)}", Path(tempfile.mkdtemp(prefix="ksl-")))
        labs.append(lab)
        return lab

    yield make
    for lab in labs:
        lab.named("down", timeout=180).assert_success()
    left = [thing for lab in labs for thing in wait_until_gone(lab)]
    for lab in labs:
        shutil.rmtree(lab.root, ignore_errors=True)
    assert not left, "lab down left behind:\n" + "\n".join(left)
    assert host_links() <= links, f"new network interfaces on the host: {host_links() - links}"
