"""kind: go. Programs from Go modules: a folder with go.mod and go.sum, no network but the Go module proxy."""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import ClassVar, cast

from lab.bundle import host_tools
from lab.bundle.apt import numbers
from lab.bundle.kinds.base import Kind, Spec, Work
from lab.bundle.runner import said
from lab.errors import InputError

# The component that has a Go of its own, for hosts without a suitable one.
TOOLCHAIN = "go"


class GoSpec(Spec):
    """A recipe of kind go."""

    version: str
    packages: dict[str, str]
    cgo: bool = False
    tags: tuple[str, ...] = ()
    ldflags: tuple[str, ...] = ()


class Go(Kind):
    """Builds `bin/<program>` for each of `packages`, with the user's ordinary module and build caches."""

    spec_class: ClassVar[type[Spec]] = GoSpec

    @property
    def spec(self) -> GoSpec:
        """The recipe."""
        return cast("GoSpec", self.base_spec)

    def host_tools(self) -> tuple[str, ...]:
        """A C compiler and what else the recipe says."""
        return (*super().host_tools(), *(("gcc", "libc6-dev") if self.spec.cgo else ()))

    def tools(self) -> tuple[str, ...]:
        """A Go of our own, where the host has none that is new enough."""
        version = host_go()
        return () if version and numbers(version) >= numbers(self._wanted()) else (TOOLCHAIN,)

    def build(self, work: Work) -> str:
        """Compile and link all programs with one `go build`."""
        spec = self.spec
        own = work.needs.get(TOOLCHAIN)
        go = str(own.folder / own.facts["program"]) if own else "go"
        major, minor, *_ = [*spec.version.split("."), "", ""]
        words = {"version": spec.version, "major": major, "minor": minor}
        env = {
            "CGO_ENABLED": "1" if spec.cgo else "0",
            "GOARCH": "amd64",
            "GOOS": "linux",
            "GOFLAGS": "",
            "GOTOOLCHAIN": "local",
            "GOWORK": "off",
        }
        flags = ["-trimpath", "-buildvcs=false"]
        if spec.tags:
            flags.append(f"-tags={','.join(spec.tags)}")
        if spec.ldflags:
            flags.append("-ldflags=" + " ".join(flag.format_map(words) for flag in spec.ldflags))
        bin_folder = work.out / "bin"
        bin_folder.mkdir()
        # One call compiles what the programs share once. Its output is named by the package's last word, so a
        # program with another name is built (from the cache by then) into its own file.
        plain = [package for program, package in spec.packages.items() if program_name(package) == program]
        if plain:
            work.run(
                [go, "build", *flags, "-o", f"{bin_folder}/", *plain], env=env, cwd=self.component.folder
            )
        for program, package in spec.packages.items():
            if package not in plain or not (bin_folder / program).exists():
                work.run(
                    [go, "build", *flags, "-o", bin_folder / program, package],
                    env=env,
                    cwd=self.component.folder,
                )
        work.facts["go"] = said([go, "env", "GOVERSION"])
        return spec.version

    def _wanted(self) -> str:
        """The Go version that go.mod asks for."""
        path = self.component.folder / "go.mod"
        match = re.search(r"^go (\d+(?:\.\d+)+)", path.read_text() if path.exists() else "", re.MULTILINE)
        if match is None:
            raise InputError(f"{path} does not say which Go it needs.")
        return match[1]


@functools.cache
def host_go() -> str | None:
    """The version of the host's Go, such as 1.26.6; None without one."""
    if host_tools.which("go") is None:
        return None
    match = re.match(r"go(\d+(?:\.\d+)+)", said(["env", "GOTOOLCHAIN=local", "go", "env", "GOVERSION"]))
    return match[1] if match else None


def program_name(package: str) -> str:
    """What `go build` calls the program of a package: its path's last word that is no major version."""
    words = [word for word in Path(package).parts if not re.fullmatch(r"v\d+", word)]
    return words[-1] if words else ""
