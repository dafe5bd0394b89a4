"""What `source: upstream` installs, as `upstream/MINOR.yaml` pins it."""

from __future__ import annotations

import functools
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field

from lab import paths


class Image(BaseModel):
    """One image.

    Args:
        name: the whole name with its tag.
        digest: what it must be, as `sha256:…`; empty where only the tag is known.
        control_plane: no other node needs it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    digest: str = ""
    control_plane: bool = False

    @property
    def repository(self) -> str:
        """The name without its tag."""
        return self.name.rpartition(":")[0]

    @property
    def tag(self) -> str:
        """The tag alone."""
        return self.name.rpartition(":")[2]


class Pins(BaseModel):
    """One release: versions of Debian packages, as apt matches them, and images by what they hold."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: str
    packages: dict[str, str] = Field(min_length=1)
    images: dict[str, Image] = Field(min_length=1)


def known() -> tuple[str, ...]:
    """The releases there are pins for, newest first."""
    return tuple(_all(paths.share("upstream")))


def of(version: str) -> Pins:
    """The pins of a release that is `known`."""
    return _all(paths.share("upstream"))[version]


@functools.cache
def _all(folder: Path) -> dict[str, Pins]:
    found = [Pins.model_validate(yaml.safe_load(file.read_text())) for file in folder.glob("*.yaml")]
    found.sort(key=lambda pins: [int(part) for part in pins.version.split(".")], reverse=True)
    return {pins.version: pins for pins in found}
