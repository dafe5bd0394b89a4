"""kind: kernel. A user-mode Linux kernel from the source package of Debian's newest suites."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import ClassVar, cast

from lab.bundle import apt
from lab.bundle.kinds.base import Kind, Spec, Work
from lab.bundle.runner import BuildError, said

PACKAGE = re.compile(r"linux-source-(\d+\.\d+)")
CONFIG = "kernel.config"
ASKED = re.compile(r"^(?:(CONFIG_\w+)=(.*)|# (CONFIG_\w+) is not set)$", re.MULTILINE)


class KernelSpec(Spec):
    """A recipe of kind kernel: the oldest series that does, those tried, and the suites looked into.

    `tested_only` names patches that no other series than the tested ones gets.
    """

    minimum: str
    tested: tuple[str, ...] = ()
    tested_only: tuple[str, ...] = ()
    suites: tuple[str, ...]


class Kernel(Kind):
    """Builds `linux` (everything built in, no modules) and `config`, what it was configured with.

    The recipe's patches (`*.patch`) mend the source first, those of `tested_only` only where it was tried;
    one that does not apply fails the build.
    """

    spec_class: ClassVar[type[Spec]] = KernelSpec

    def host_tools(self) -> tuple[str, ...]:
        """What a kernel build calls, and what fetches and unpacks its source."""
        build = ("bc", "bison", "flex", "gcc", "libc6-dev", "make", "patch", "xz-utils")
        return (*super().host_tools(), *build, "apt", "dpkg", "debian-archive-keyring")

    def build(self, work: Work) -> str:
        """Fetch, mend, configure, check that every option asked for is set, make."""
        spec = cast("KernelSpec", self.base_spec)
        env = apt.private_state(work.scratch / "apt", spec.suites)
        work.note(f"source from {apt.mirror()}")
        work.run(["apt-get", "-q", "update"], env=env, timeout=600)
        found = apt.newest(env["APT_CONFIG"], PACKAGE, spec.minimum, spec.tested)
        if found is None:
            raise BuildError(
                f"No linux-source package of {spec.minimum} or newer in {', '.join(spec.suites)}.",
                details=[f"mirror: {apt.mirror()}"],
            )
        package, version = found
        work.note(f"{package} {version}")
        work.run(
            ["apt-get", "-q", "download", f"{package}={version}"], env=env, cwd=work.scratch, timeout=1800
        )
        (deb,) = work.scratch.glob("linux-source-*.deb")
        work.run(["dpkg-deb", "--extract", deb, work.scratch / "deb"])
        (archive,) = (work.scratch / "deb/usr/src").glob("linux-source-*.tar.*")
        work.run(["tar", "-C", work.scratch, "-xf", archive])
        deb.unlink()
        tree = work.scratch / package
        for mend in patches(spec, self.component.folder, package):
            work.run(["patch", "-p1", "--forward", f"--input={mend}"], cwd=tree)
        make = [
            "make",
            f"-j{os.cpu_count() or 1}",
            "ARCH=um",
            "KBUILD_BUILD_USER=lab",
            "KBUILD_BUILD_HOST=lab",
        ]
        fragment = self.component.folder / CONFIG
        work.run([*make, "defconfig"], cwd=tree)
        work.run(["scripts/kconfig/merge_config.sh", "-m", ".config", fragment], cwd=tree, env={"ARCH": "um"})
        work.run([*make, "olddefconfig"], cwd=tree)
        faults = unmet(fragment.read_text(), (tree / ".config").read_text())
        if faults:
            raise BuildError(
                f"{package} does not take {len(faults)} of the options asked for.", details=faults
            )
        work.note(f"compiling {package} {version}")
        work.run([*make, "linux"], cwd=tree)
        (tree / "linux").rename(work.out / "linux")
        (tree / ".config").rename(work.out / "config")
        work.facts |= {"package": package, "gcc": said(["gcc", "-dumpfullversion"])}
        return version


def patches(spec: KernelSpec, folder: Path, package: str) -> list[Path]:
    """The recipe's patches for the source of a package (`linux-source-7.2`), in the order to apply them.

    Raises:
        BuildError: the recipe names one that it does not have.
    """
    found = {file.name: file for file in sorted(folder.glob("*.patch"))}
    if missing := sorted(set(spec.tested_only) - set(found)):
        raise BuildError(f"The recipe in {folder} has no {', '.join(missing)}, which its tested_only names.")
    series = PACKAGE.fullmatch(package)
    tried = series is not None and series[1] in spec.tested
    return [file for name, file in found.items() if tried or name not in spec.tested_only]


def unmet(fragment: str, config: str) -> list[str]:
    """The options of a fragment that a finished configuration does not have, as lines to show."""
    have = _options(config)
    faults = []
    for option, value in _options(fragment).items():
        got = have.get(option, "n")
        if got != value:
            faults.append(f"{option}: asked for {value}, got {got}")
    return faults


def _options(text: str) -> dict[str, str]:
    return {m[1] or m[3]: m[2] if m[1] else "n" for m in ASKED.finditer(text)}
