"""Which Kubernetes releases the source can give, read from the recipes that ship with the project."""

from __future__ import annotations

import functools
from pathlib import Path

import yaml

from lab import paths


def known() -> tuple[str, ...]:
    """The releases with a recipe in `bundle/kubernetes/*/component.yaml`, newest first.

    A recipe names its release as `version`, or several as `versions`.
    """
    return _recipes(paths.share("bundle"))


def minor(version: str) -> str:
    """The minor of a release: `1.37` of `1.37.2`."""
    return ".".join(version.split(".")[:2])


@functools.cache
def _recipes(bundle: Path) -> tuple[str, ...]:
    found: set[str] = set()
    for recipe in bundle.glob("kubernetes/*/component.yaml"):
        values = yaml.safe_load(recipe.read_text())
        if isinstance(values, dict):
            versions = values.get("versions", [])
            found.update(
                str(version).lstrip("v") for version in (values.get("version"), *versions) if version
            )
    return tuple(sorted(found, key=_numbers, reverse=True))


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) if part.isdigit() else 0 for part in version.split("."))
