"""kind: root. A Debian root as a tar file: packages, own files, units switched on and off."""

from __future__ import annotations

import io
import shlex
import tarfile
from pathlib import Path
from typing import ClassVar, cast

from lab.bundle import apt, mmdebstrap
from lab.bundle.dpkg import versions
from lab.bundle.kinds.base import Kind, Spec, Work

UNITS = "etc/systemd/system"
GENERATORS = "etc/systemd/system-generators"
# Below these, files are programs.
PROGRAMS = ("usr/local/bin/", "usr/local/sbin/", "usr/local/lib/lab/")


class RootSpec(Spec):
    """A recipe of kind root. Files of its folder `files/` are put over the packages'."""

    suite: str
    packages: tuple[str, ...]
    variant: str = "essential"
    exclude: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()
    empty: tuple[str, ...] = ()
    enable: tuple[str, ...] = ()
    default_target: str = ""
    mask: tuple[str, ...] = ()
    mask_generators: tuple[str, ...] = ()


class Root(Kind):
    """Builds `root.tar`."""

    spec_class: ClassVar[type[Spec]] = RootSpec
    code = (mmdebstrap,)

    @property
    def spec(self) -> RootSpec:
        """The recipe."""
        return cast("RootSpec", self.base_spec)

    def host_tools(self) -> tuple[str, ...]:
        """What mmdebstrap needs for this user."""
        return (*super().host_tools(), *mmdebstrap.tools())

    def build(self, work: Work) -> str:
        """Bootstrap, then apply the recipe's changes inside."""
        spec = self.spec
        overlay = work.scratch / "overlay.tar"
        hooks = []
        if spec.remove:
            hooks.append("rm -rf " + " ".join(f'"$1"{path}' for path in spec.remove))
        if write_overlay(overlay, spec, self.component.folder / "files"):
            hooks.append(f"tar-in {shlex.quote(str(overlay))} /")
        if spec.enable:
            hooks.append(f'chroot "$1" systemctl enable {shlex.join(spec.enable)}')
        if spec.default_target:
            hooks.append(f'chroot "$1" systemctl set-default {shlex.quote(spec.default_target)}')
        work.note(f"{len(spec.packages)} packages of {spec.suite} from {apt.mirror()}")
        mmdebstrap.root(
            work,
            work.out / "root.tar",
            variant=spec.variant,
            suite=spec.suite,
            packages=spec.packages,
            exclude=spec.exclude,
            hooks=hooks,
        )
        work.facts["packages"] = versions(work.out / "root.tar")
        return spec.version


def write_overlay(target: Path, spec: RootSpec, files: Path) -> int:
    """A tar of what goes over the packages: the folder's files, empty ones, links that switch units off.

    Returns:
        How many there are.
    """
    with tarfile.open(target, "w", format=tarfile.PAX_FORMAT) as tar:
        for path in sorted(files.rglob("*")) if files.is_dir() else []:
            if path.is_file():
                inside = path.relative_to(files).as_posix()
                mode = 0o755 if inside.startswith(PROGRAMS) else 0o644
                _add(tar, inside, path.read_bytes(), mode)
        for inside in spec.empty:
            _add(tar, inside.lstrip("/"), b"", 0o644)
        for folder, names in ((UNITS, spec.mask), (GENERATORS, spec.mask_generators)):
            for name in names:
                entry = tarfile.TarInfo(f"{folder}/{name}")
                entry.type, entry.linkname, entry.uname, entry.gname = (
                    tarfile.SYMTYPE,
                    "/dev/null",
                    "root",
                    "root",
                )
                tar.addfile(entry)
        return len(tar.getmembers())


def _add(tar: tarfile.TarFile, inside: str, content: bytes, mode: int) -> None:
    entry = tarfile.TarInfo(inside)
    entry.size, entry.mode, entry.uname, entry.gname = len(content), mode, "root", "root"
    tar.addfile(entry, io.BytesIO(content))
