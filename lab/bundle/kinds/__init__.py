"""The kinds of component: a table of names to classes. A new kind is one file and one line."""

from __future__ import annotations

import importlib

from lab.bundle.component import Component
from lab.bundle.kinds.base import Kind
from lab.errors import InputError

KINDS = {
    "box": "lab.bundle.kinds.box:Box",
    "disk": "lab.bundle.kinds.disk:Disk",
    "go": "lab.bundle.kinds.go:Go",
    "image": "lab.bundle.kinds.image:Image",
    "kernel": "lab.bundle.kinds.kernel:Kernel",
    "module": "lab.bundle.kinds.module:Module",
    "root": "lab.bundle.kinds.root:Root",
    "tree": "lab.bundle.kinds.tree:Tree",
    "wheel": "lab.bundle.kinds.wheel:Wheel",
}


def of(component: Component) -> Kind:
    """The builder of a component.

    Raises:
        InputError: the recipe names no known kind, or has faults.
    """
    if component.kind not in KINDS:
        raise InputError(
            f"{component.name} is of an unknown kind {component.kind!r}.",
            details=[f"known: {', '.join(KINDS)}"],
        )
    module, _, name = KINDS[component.kind].partition(":")
    kind: type[Kind] = getattr(importlib.import_module(module), name)
    return kind(component)
