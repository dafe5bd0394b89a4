"""Which package versions are in a Debian root that is a tar file."""

from __future__ import annotations

import gzip
import re
import tarfile
from pathlib import Path

STATUS = "var/lib/dpkg/status"
CHANGELOG = re.compile(r"usr/share/doc/[^/]+/changelog\.Debian(\.amd64)?\.gz")
FIRST_LINE = re.compile(r"\S+ \(([^)]+)\)")


def versions(root: Path) -> dict[str, str]:
    """Package versions by name, of a root's tar file.

    dpkg's own list has them; where packages were only unpacked it is empty, and their changelogs say it.
    """
    status: dict[str, str] = {}
    logs: dict[str, str] = {}
    with tarfile.open(root) as tar:
        for entry in tar:
            name = entry.name.removeprefix("./")
            wanted = name == STATUS or CHANGELOG.fullmatch(name)
            file = tar.extractfile(entry) if wanted and entry.isfile() else None
            if file is None:
                continue
            if name == STATUS:
                status = parse(file.read().decode(errors="replace"))
            elif match := FIRST_LINE.match(gzip.decompress(file.read()).decode(errors="replace")):
                package = name.split("/")[3]
                # A rebuild for one architecture has a changelog of its own, which is the newer.
                if ".amd64." in name or package not in logs:
                    logs[package] = match[1]
    return status or dict(sorted(logs.items()))


def parse(status: str) -> dict[str, str]:
    """Package versions by name, of the text of dpkg's status file."""
    found = {}
    for stanza in status.split("\n\n"):
        keys = dict(re.findall(r"^(Package|Version): (.*)$", stanza, re.MULTILINE))
        if len(keys) == 2:
            found[keys["Package"]] = keys["Version"]
    return dict(sorted(found.items()))


def tag(version: str) -> str:
    """A Debian version as an image tag: without the epoch, other characters than a tag may have as `-`."""
    return re.sub(r"[^A-Za-z0-9_.-]", "-", version.split(":", 1)[-1])
