"""A component: a folder of `bundle/` with a `component.yaml`, and how components need each other."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from lab.errors import InputError

RECIPE = "component.yaml"


@dataclass(frozen=True)
class Component:
    """A recipe. `name` is its folder below `bundle/` with hyphens: `images/etcd` is `images-etcd`."""

    name: str
    folder: Path
    kind: str
    version: str
    values: Mapping[str, Any] = field(repr=False)

    @property
    def needs(self) -> tuple[str, ...]:
        """Names of the components whose outputs this one is made of, as the recipe says them."""
        return tuple(self.values.get("needs", ()))

    def content(self) -> str:
        """sha256 (hex) over the names and bytes of the folder's files."""
        return folder_digest(self.folder)


def read(folder: Path, root: Path) -> Component:
    """Read the recipe in `folder`.

    Raises:
        InputError: it is no mapping, or says no kind.
    """
    path = folder / RECIPE
    try:
        values = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise InputError(f"{path} is not YAML.", details=str(error).splitlines()) from error
    if not isinstance(values, dict) or not isinstance(values.get("kind"), str):
        raise InputError(f"{path} does not say its kind.")
    name = "-".join(folder.relative_to(root).parts)
    return Component(name, folder, values["kind"], str(values.get("version", "")), values)


@dataclass(frozen=True)
class Components:
    """All recipes below `root`. The need of a family (`kubernetes`) means its member for `minor` (`1.37`)."""

    root: Path
    minor: str
    by_name: Mapping[str, Component]

    @classmethod
    def load(cls, root: Path, minor: str) -> Components:
        """Read every recipe below `root`; `minor` chooses among the members of a family."""
        found = (read(path.parent, root) for path in sorted(root.rglob(RECIPE)))
        return cls(root, minor, {component.name: component for component in found})

    def resolve(self, name: str) -> Component:
        """The component of that name or family.

        Raises:
            InputError: there is none.
        """
        component = self.by_name.get(name) or self.by_name.get(f"{name}-{self.minor}")
        if component is None:
            known = ", ".join(sorted(self.by_name))
            raise InputError(f"There is no component {name!r} in {self.root}.", details=[f"known: {known}"])
        return component

    def closure(
        self, names: Iterable[str], extra: Mapping[str, Iterable[str]] | None = None
    ) -> list[Component]:
        """The components of those names and all that they need, each after its needs.

        Args:
            names: where to start.
            extra: more needs by component name (tools), followed but not part of a recipe.

        Raises:
            InputError: a name is unknown, or needs go in a circle.
        """
        order: dict[str, Component] = {}
        path: list[str] = []

        def visit(name: str) -> None:
            component = self.resolve(name)
            if component.name in order:
                return
            if component.name in path:
                raise InputError(
                    "Components need each other in a circle.", details=[" -> ".join([*path, component.name])]
                )
            path.append(component.name)
            for need in (*component.needs, *(extra or {}).get(component.name, ())):
                visit(need)
            path.pop()
            order[component.name] = component

        for name in names:
            visit(name)
        return list(order.values())


def folder_digest(folder: Path) -> str:
    """sha256 (hex) over the names and bytes of a folder's files, hidden and compiled ones left out."""
    lines = []
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        if not path.is_file() or any(part.startswith(".") or part == "__pycache__" for part in inside.parts):
            continue
        lines.append([inside.as_posix(), hashlib.sha256(path.read_bytes()).hexdigest()])
    return hashlib.sha256(json.dumps(lines).encode()).hexdigest()
