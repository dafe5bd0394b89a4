"""A kind of component that takes no time: it writes what its recipe says, and what its needs wrote."""

from __future__ import annotations

import time
from pathlib import Path
from typing import ClassVar, cast

import yaml

from lab.bundle.builder import Builder
from lab.bundle.component import Components
from lab.bundle.kinds.base import Kind, Spec, Work


class FakeSpec(Spec):
    text: str = ""
    command: tuple[str, ...] = ()
    # Seconds between the two halves of the output, for tests that interrupt.
    pause: float = 0


class Fake(Kind):
    spec_class: ClassVar[type[Spec]] = FakeSpec

    def build(self, work: Work) -> str:
        spec = cast("FakeSpec", self.base_spec)
        if spec.command:
            work.run(spec.command)
        texts = [(artifact.folder / "text").read_text() for artifact in work.needs.values()]
        with (work.out / "text").open("w") as file:
            file.write("".join(texts))
            file.flush()
            (work.log.parent / f"{work.component.name}.halfway").touch()
            time.sleep(spec.pause)
            file.write(spec.text)
        (work.out / "bin").mkdir()
        (work.out / "bin" / "program").write_text("#!/bin/sh\n")
        (work.out / "bin" / "program").chmod(0o700)
        work.facts["said"] = spec.text
        return spec.version


def write_recipe(root: Path, name: str, **values: object) -> Path:
    folder = root / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "component.yaml").write_text(yaml.safe_dump({"kind": "fake", "version": "1", **values}))
    return folder


def builder_of(root: Path, cache: Path) -> Builder:
    return Builder(Components.load(root, "1.37"), cache)
