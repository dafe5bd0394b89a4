"""kind: tree. The content of a disk as a folder, for nodes that are containers. Needs root."""

from __future__ import annotations

import os
from typing import ClassVar, cast

from lab.bundle.kinds.base import RECORD, Kind, Spec, Work
from lab.bundle.runner import BuildError
from lab.errors import PrerequisiteError

MADE_AT_BOOT = (
    "etc/hostname",
    "etc/hosts",
    "etc/resolv.conf",
    "etc/ssh/ssh_host_ed25519_key",
    "etc/ssh/ssh_host_ed25519_key.pub",
    "root/.ssh/authorized_keys",
)


class TreeSpec(Spec):
    """A recipe of kind tree: the disk, and the kernel that reads it."""

    disk: str
    kernel: str


class Tree(Kind):
    """Builds `root/`, by booting a copy of the disk's node and having it write its own files to this host."""

    spec_class: ClassVar[type[Spec]] = TreeSpec
    trees: ClassVar[tuple[str, ...]] = ("root",)

    def tools(self) -> tuple[str, ...]:
        """The kernel that reads the disk."""
        return (cast("TreeSpec", self.base_spec).kernel,)

    def build(self, work: Work) -> str:
        """Boot over the disk, which stays as it is; pack inside; unpack outside."""
        from lab import user_mode  # noqa: PLC0415 -- only here

        spec = cast("TreeSpec", self.base_spec)
        if os.geteuid() != 0:
            raise PrerequisiteError(
                "Only root can make the files of container nodes, which belong to many users.",
                fix="sudo lab bundle build node-tree, or --provider uml, which needs no root",
            )
        disk = work.need(spec.disk)
        kernel = work.need(spec.kernel).folder / "linux"
        shared = work.scratch / "shared"
        shared.mkdir()
        work.note("reading the disk")
        record = work.scratch / RECORD
        with user_mode.boot_once(
            kernel, disk.folder / "disk.img", writable=False, hostfs=shared, record=record
        ) as machine:
            keep = "--xattrs --xattrs-include='*' --numeric-owner --one-file-system"
            machine.run(
                "systemctl stop containerd 2>/dev/null; mkdir /run/disk && mount --bind / /run/disk && "
                f"mount -t hostfs none /mnt && tar {keep} -C /run/disk -cf /mnt/root.tar .",
                timeout=900,
            )
        root = work.out / "root"
        root.mkdir()
        work.note("unpacking")
        work.run(
            [
                "tar",
                "--xattrs",
                "--xattrs-include=*",
                "--numeric-owner",
                "-C",
                root,
                "-xpf",
                shared / "root.tar",
            ]
        )
        # What the boot for reading has made, each machine makes for itself.
        for made in MADE_AT_BOOT:
            (root / made).unlink(missing_ok=True)
        (root / "etc/machine-id").write_text("")
        if not (root / "sbin/init").exists():
            raise BuildError("The tree has no /sbin/init.")
        work.facts |= {**disk.facts, "disk": disk.digest}
        return disk.version
