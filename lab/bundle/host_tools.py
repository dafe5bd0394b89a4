"""What a host must have to build: which program or file shows that a package is there, and how to get it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from lab import host
from lab.errors import PrerequisiteError

# Where a user's PATH often does not lead, and mke2fs and others live.
SBIN = host.ADMIN_FOLDERS


@dataclass(frozen=True)
class HostTool:
    """A Debian package, seen by one of its programs or files; any one of `files` is enough."""

    package: str
    program: str = ""
    files: tuple[str, ...] = ()

    def present(self) -> bool:
        """Whether the host has it."""
        if self.files:
            return any(Path(path).exists() for path in self.files)
        return which(self.program or self.package) is not None


TOOLS = {
    tool.package: tool
    for tool in (
        HostTool("apt", "apt-get"),
        HostTool("dpkg", "dpkg-deb"),
        HostTool(
            "debian-archive-keyring",
            files=tuple(f"/usr/share/keyrings/debian-archive-keyring.{kind}" for kind in ("gpg", "pgp")),
        ),
        HostTool("e2fsprogs", "mke2fs"),
        HostTool("grub-common", "grub-mkimage"),
        HostTool("grub-pc-bin", files=("/usr/lib/grub/i386-pc/boot.img",)),
        HostTool("iproute2", "ip"),
        HostTool("libc6-dev", files=("/usr/include/stdio.h",)),
        HostTool("libseccomp-dev", files=("/usr/include/seccomp.h",)),
        HostTool("openssh-client", "ssh"),
        HostTool("python3-pip", "pip3"),
        HostTool("qemu-utils", "qemu-img"),
        HostTool("uidmap", "newuidmap"),
        HostTool("util-linux", "unshare"),
        HostTool("xz-utils", "xz"),
    )
}


def which(program: str) -> str | None:
    """The path of a program, looked for in the system folders too."""
    return shutil.which(program) or shutil.which(program, path=os.pathsep.join(SBIN))


def missing(names: Iterable[str]) -> list[str]:
    """Those of `names` that the host lacks, sorted: Debian packages; an unknown one is a program too."""
    return sorted({name for name in names if not TOOLS.get(name, HostTool(name)).present()})


def error(packages: list[str]) -> PrerequisiteError:
    """The error that names all missing packages at once."""
    many = len(packages) > 1
    return PrerequisiteError(
        f"{len(packages)} thing{'s' if many else ''} that the build needs {'are' if many else 'is'} missing; "
        "nothing was touched.",
        details=packages,
        fix=host.install_command(packages)
        if which("apt-get")
        else f"install what Debian has as {', '.join(packages)} with this host's package manager",
    )
