"""kind: module. Programs from Go modules, and files that one of the modules ships beside its code."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import ModuleType
from typing import ClassVar, cast

from pydantic import Field

from lab.bundle.kinds import go
from lab.bundle.kinds.base import Spec, Work
from lab.bundle.runner import BuildError


class ModuleSpec(go.GoSpec):
    """A recipe of kind module. `files` leads from a name in the artifact to a path in `module`."""

    module: str
    files: dict[str, str] = Field(min_length=1)


class Module(go.Go):
    """Builds `bin/<program>` as kind go does, and lays the files beside it.

    They are of the version that go.mod names, and go.sum vouches for them as it does for the code.
    """

    spec_class: ClassVar[type[Spec]] = ModuleSpec
    code: ClassVar[tuple[ModuleType, ...]] = (go,)

    @property
    def spec(self) -> ModuleSpec:
        """The recipe."""
        return cast("ModuleSpec", self.base_spec)

    def build(self, work: Work) -> str:
        """Build the programs, then copy the files out of Go's module cache."""
        version = super().build(work)
        own, found = work.needs.get(go.TOOLCHAIN), work.scratch / "module"
        work.run(
            [
                own.folder / own.facts["program"] if own else "go",
                *("list", "-m", "-f", "{{.Version}} {{.Dir}}", self.spec.module),
            ],
            env={"GOFLAGS": "", "GOTOOLCHAIN": "local", "GOWORK": "off"},
            cwd=self.component.folder,
            output=found,
        )
        given, _, folder = found.read_text().strip().partition(" ")
        if given != f"v{version}":
            raise BuildError(
                f"The recipe of {self.component.name} says v{version}, its go.mod {given or 'nothing'}."
            )
        for name, inside in self.spec.files.items():
            try:
                shutil.copyfile(Path(folder) / inside, work.out / name)
            except OSError as error:
                raise BuildError(
                    f"{self.spec.module} {given} gives no {inside}.", details=[str(error)]
                ) from error
        return version
