"""kind: box. A Vagrant box for libvirt: a node's disk, with a kernel and a boot loader of its own."""

from __future__ import annotations

import json
import shlex
import shutil
import struct
import tarfile
from pathlib import Path
from typing import ClassVar, cast

import yaml

from lab import paths, vagrant_box
from lab.bundle import host_tools
from lab.bundle.kinds.base import RECORD, Kind, Spec, Work
from lab.bundle.kinds.tree import MADE_AT_BOOT
from lab.bundle.runner import BuildError

GRUB = Path("/usr/lib/grub/i386-pc")
GRUB_MODULES = ("biosdisk", "part_msdos", "ext2", "normal", "linux")
SECTOR = 512
FIRST_SECTOR = 2048
# Of the root with the kernel: what is the kernel's.
KERNEL_FILES = ("./boot", "./vmlinuz", "./initrd.img", "./usr/lib/modules")
# Vagrant's own ssh logs in as root, so there is nothing for sudo to do.
VAGRANTFILE = """\
Vagrant.configure("2") do |config|
  config.ssh.username = "root"
  config.ssh.sudo_command = "%c"
  config.vm.guest = :debian
  config.vm.synced_folder ".", "/vagrant", disabled: true
end
"""


class BoxSpec(Spec):
    """A recipe of kind box: the disk, the user-mode kernel that writes to it, the root with Debian's kernel.

    `enable` are units that the disk has switched off; `key` is the public key that Vagrant comes with.
    """

    disk: str
    kernel: str
    debian: str
    enable: tuple[str, ...] = ()
    key: str


class Box(Kind):
    """Builds `kube-service-lab.box`; files of its folder `files/` are put over the disk's."""

    spec_class: ClassVar[type[Spec]] = BoxSpec

    @property
    def spec(self) -> BoxSpec:
        """The recipe."""
        return cast("BoxSpec", self.base_spec)

    def host_tools(self) -> tuple[str, ...]:
        """What makes a disk that boots by itself, without root."""
        return (*super().host_tools(), "e2fsprogs", "grub-common", "grub-pc-bin", "qemu-utils")

    def tools(self) -> tuple[str, ...]:
        """The kernel that boots the disk once to add to it."""
        return (self.spec.kernel,)

    def inputs(self) -> dict[str, str]:
        """The modules that a prepared machine loads: the disk was prepared on a kernel that has none."""
        return {"modules": json.dumps(_modules())}

    def build(self, work: Work) -> str:
        """Copy the disk, add to it from inside, put a boot loader before it, pack it."""
        disk = work.need(self.spec.disk)
        file_system = work.scratch / "disk.img"
        work.note("copying the disk")
        work.run(["cp", "--sparse=always", "--reflink=auto", disk.folder / "disk.img", file_system])
        work.note("adding the kernel")
        kernel = self._add(work, file_system)
        e2fsck = host_tools.which("e2fsck") or "e2fsck"
        work.run(["sh", "-c", '"$0" -fp "$1" || [ $? -eq 1 ]', e2fsck, file_system])
        work.note("packing")
        raw = work.scratch / "box.raw"
        self._partition(work, file_system, raw)
        image = work.scratch / "box.img"
        work.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, image])
        size = raw.stat().st_size
        metadata = {"provider": "libvirt", "format": "qcow2", "virtual_size": -(-size // 2**30)}
        (work.scratch / "metadata.json").write_text(json.dumps(metadata) + "\n")
        (work.scratch / "Vagrantfile").write_text(VAGRANTFILE)
        with tarfile.open(work.out / vagrant_box.PART[1], "w") as tar:
            for name in ("metadata.json", "Vagrantfile", "box.img"):
                tar.add(work.scratch / name, name)
        work.facts |= {**disk.facts, "disk": disk.digest, "kernel": kernel}
        return disk.version

    def _add(self, work: Work, disk: Path) -> str:
        """Boot over the disk and add what makes a node a virtual machine; returns the kernel's version."""
        from lab import user_mode  # noqa: PLC0415 -- only here

        shared = work.scratch / "shared"
        shutil.copytree(self.component.folder / "files", shared / "files")
        file, names = _modules()
        modules = shared / "files" / file.lstrip("/")
        modules.parent.mkdir(parents=True, exist_ok=True)
        modules.write_text("\n".join(names) + "\n")
        root = work.need(self.spec.debian).folder / "root.tar"
        shutil.copyfile(root, shared / "root.tar")
        (shared / "key").write_text(self.spec.key.strip() + "\n")
        units = shlex.join(self.spec.enable)
        made = " ".join(f"/{path}" for path in MADE_AT_BOOT)
        script = (
            "set -e; umask 022; systemctl stop containerd; mount -t hostfs none /mnt; "
            f"tar -C / -xpf /mnt/root.tar --numeric-owner {shlex.join(KERNEL_FILES)}; "
            f"rm -rf /var/log/journal /tmp/* /var/tmp/* {made}; : > /etc/machine-id; "
            "cp -r /mnt/files/. /; "
            f"systemctl unmask {units}; systemctl enable {units}; "
            "install -m 600 /mnt/key /root/.ssh/authorized_keys; umount /mnt; sync; ls /usr/lib/modules"
        )
        record = work.scratch / RECORD
        kernel = work.need(self.spec.kernel).folder / "linux"
        with user_mode.boot_once(kernel, disk, writable=True, hostfs=shared, record=record) as machine:
            return machine.run(script, timeout=600).stdout.split()[-1]

    def _partition(self, work: Work, file_system: Path, raw: Path) -> None:
        """A disk with one partition, and GRUB in front of it as `grub-bios-setup` would put it there.

        The first sector has GRUB's boot.img, which goes on at the second by default; there, core.img follows
        (GRUB manual, "BIOS installation"; grub-core/boot/i386/pc/{boot,diskboot}.S).
        """
        core = work.scratch / "core.img"
        prefix = "(hd0,msdos1)/boot/grub"
        work.run(["grub-mkimage", "-O", "i386-pc", "-d", GRUB, "-o", core, "-p", prefix, *GRUB_MODULES])
        if core.stat().st_size > (FIRST_SECTOR - 1) * SECTOR:
            raise BuildError("GRUB does not fit in front of the first partition.")
        sectors = file_system.stat().st_size // SECTOR
        boot = bytearray((GRUB / "boot.img").read_bytes().ljust(SECTOR, b"\0"))
        boot[446:512] = partition_table(FIRST_SECTOR, sectors)
        with raw.open("wb") as disk:
            disk.write(boot + core.read_bytes())
            disk.truncate((FIRST_SECTOR + sectors) * SECTOR)
        whole = f"of={raw}", "bs=1M", "seek=1", "conv=sparse,notrunc"
        work.run(["dd", "status=none", f"if={file_system}", *whole])


def partition_table(first: int, sectors: int) -> bytes:
    """The last 66 bytes of a master boot record with one active Linux partition, in sectors of 512 bytes."""
    everywhere = b"\xfe\xff\xff"  # an address in cylinders, as it is where these do not suffice
    entry = struct.pack("<B3sB3sII", 0x80, everywhere, 0x83, everywhere, first, sectors)
    return entry + bytes(48) + b"\x55\xaa"


def _modules() -> tuple[str, list[str]]:
    """The file that names a machine's modules and the names, as the role `node` has them."""
    values = yaml.safe_load(paths.share("playbooks", "roles", "node", "defaults", "main.yml").read_text())
    return values["node_modules_file"], values["node_modules"]
