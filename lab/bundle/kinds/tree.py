"""kind: tree. The content of a disk or a root as a folder, for nodes that are containers. Needs root."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import ClassVar, cast

from lab.bundle.kinds.base import RECORD, Kind, Spec, Work
from lab.bundle.runner import BuildError
from lab.bundle.store import Artifact
from lab.errors import PrerequisiteError

# What a boot makes, each machine makes for itself.
MADE_AT_BOOT = (
    "etc/hostname",
    "etc/hosts",
    "etc/resolv.conf",
    "etc/ssh/ssh_host_ed25519_key",
    "etc/ssh/ssh_host_ed25519_key.pub",
    "root/.ssh/authorized_keys",
)
KEEP = ("--xattrs", "--xattrs-include=*", "--numeric-owner")


class TreeSpec(Spec):
    """A recipe of kind tree: a disk and the kernel that reads it, or a root."""

    disk: str = ""
    kernel: str = ""
    root: str = ""


class Tree(Kind):
    """Builds `root/`: from the disk mounted on this host, or else as the disk's own node reads it."""

    spec_class: ClassVar[type[Spec]] = TreeSpec
    trees: ClassVar[tuple[str, ...]] = ("root",)

    def tools(self) -> tuple[str, ...]:
        """The kernel that reads the disk."""
        kernel = cast("TreeSpec", self.base_spec).kernel
        return (kernel,) if kernel else ()

    def build(self, work: Work) -> str:
        """Copy everything with its owners, links and attributes; the disk stays as it is."""
        spec = cast("TreeSpec", self.base_spec)
        if os.geteuid() != 0:
            raise PrerequisiteError(
                "Only root can make the files of container nodes, which belong to many users.",
                fix="sudo lab bundle build node-tree, or --provider uml, which needs no root",
            )
        root = work.out / "root"
        root.mkdir()
        if spec.root:
            work.run(
                [
                    "tar",
                    *KEEP,
                    "-C",
                    root,
                    "--exclude=./dev/*",
                    "-xpf",
                    work.need(spec.root).folder / "root.tar",
                ]
            )
            version = work.need(spec.root).version
        else:
            disk = work.need(spec.disk)
            self._read(work, disk, root)
            work.facts |= {**disk.facts, "disk": disk.digest}
            version = disk.version
        for made in MADE_AT_BOOT:
            (root / made).unlink(missing_ok=True)
        (root / "etc/machine-id").write_text("")
        if not (root / "sbin/init").exists():
            raise BuildError("The tree has no /sbin/init.")
        return version

    def _read(self, work: Work, disk: Artifact, root: Path) -> None:
        """Copy what is on the disk."""
        spec = cast("TreeSpec", self.base_spec)
        try:
            self._mounted(work, disk.folder / "disk.img", root, "true")
        except BuildError:
            work.note("this host mounts no disk images: reading it in a machine")
            self._booted(work, disk.folder / "disk.img", work.need(spec.kernel).folder / "linux", root)
        else:
            work.note("copying")
            self._mounted(work, disk.folder / "disk.img", root, 'cp -a "$2/." "$3"')

    def _mounted(self, work: Work, disk: Path, root: Path, command: str) -> None:
        """Run a command with the disk mounted at "$2", in a mount namespace that leaves nothing if killed."""
        place = work.scratch / "disk"
        place.mkdir(exist_ok=True)
        script = f'mount -t ext4 -o loop,ro,noload "$1" "$2" && {command}'
        work.run(["unshare", "--mount", "sh", "-ec", script, "sh", disk, place, root])

    def _booted(self, work: Work, disk: Path, kernel: Path, root: Path) -> None:
        """Boot over the disk, pack inside, unpack outside."""
        from lab import user_mode  # noqa: PLC0415 -- only here

        shared = work.scratch / "shared"
        shared.mkdir()
        record = work.scratch / RECORD
        with user_mode.boot_once(kernel, disk, writable=False, hostfs=shared, record=record) as machine:
            machine.run(
                "systemctl stop containerd 2>/dev/null; mkdir /run/disk && mount --bind / /run/disk && "
                f"mount -t hostfs none /mnt && tar {shlex.join(KEEP)} --one-file-system -C /run/disk "
                "-cf /mnt/root.tar .",
                timeout=1800,
            )
        work.note("unpacking")
        work.run(["tar", *KEEP, "-C", root, "-xpf", shared / "root.tar"])
