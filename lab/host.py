"""What this host must have: commands from packages, memory, disk. Found before anything starts."""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lab import shell
from lab.errors import PrerequisiteError
from lab.progress import Progress

ADMIN_FOLDERS = ("/usr/local/sbin", "/usr/sbin", "/sbin")


@dataclass(frozen=True)
class Tool:
    """A command the host must have.

    Args:
        command: its name, or an absolute path for a file that is no command (a header, a library).
        package: the Debian package that has it.
        why: what it is for, as the end of "X …": `reaches the nodes`.
    """

    command: str
    package: str
    why: str

    def found(self) -> str | None:
        """Where it is, None if it is nowhere."""
        if self.command.startswith("/"):
            return self.command if Path(self.command).exists() else None
        return shutil.which(self.command)


def complete_path() -> None:
    """See that this process finds the commands of sbin: an ordinary user's PATH on Debian leaves them out."""
    folders = os.environ.get("PATH", os.defpath).split(os.pathsep)
    os.environ["PATH"] = os.pathsep.join([*folders, *(f for f in ADMIN_FOLDERS if f not in folders)])


def missing(tools: Iterable[Tool]) -> list[Tool]:
    """Those of the tools that this host does not have, each once."""
    return [tool for tool in dict.fromkeys(tools) if tool.found() is None]


def packages(tools: Iterable[Tool]) -> list[str]:
    """The Debian packages that bring those of the tools that are missing."""
    return sorted({tool.package for tool in missing(tools)})


def install_command(names: Sequence[str]) -> str:
    """The one command that installs Debian packages, to paste; with `sudo` where it is needed."""
    sudo = "" if os.geteuid() == 0 else "sudo "
    return f"{sudo}apt-get update && {sudo}{shlex.join(_apt_install(names))}"


def faults(tools: Iterable[Tool]) -> list[str]:
    """One line for each tool that is missing."""
    return [f"{t.command} is missing (package {t.package}): it {t.why}" for t in missing(tools)]


def can_install() -> bool:
    """Whether this process may install packages: root, on Debian or a system derived from it."""
    return os.geteuid() == 0 and shutil.which("apt-get") is not None


def install(names: Sequence[str], progress: Progress, *, timeout: float = 900) -> None:
    """Install Debian packages on this host, saying so.

    Raises:
        PrerequisiteError: this process may not.
        CommandError: apt-get failed, with what it said.
    """
    if not names:
        return
    if not can_install():
        raise PrerequisiteError(
            "Only root on Debian can have missing packages installed by lab.",
            details=[f"missing: {' '.join(names)}"],
            fix=install_command(names),
        )
    env = {"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
    with progress.step(f"Installing Debian packages on this host: {' '.join(names)}"):
        # An old list names files that are gone, so it is fetched anew when something is to be installed.
        shell.run(["apt-get", "update"], timeout=timeout, env=env)
        shell.run(_apt_install(names), timeout=timeout, env=env)


def memory_available() -> int:
    """MiB that new processes can use: what the kernel says, within the limit of this process's cgroup."""
    available = 0
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            available = int(line.split()[1]) >> 10
    room = [available]
    for folder, limit, usage in (
        ("/sys/fs/cgroup", "memory.max", "memory.current"),
        ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes"),
    ):
        try:
            most = (Path(folder) / limit).read_text().strip()
            used = int((Path(folder) / usage).read_text())
            stat = (Path(folder) / "memory.stat").read_text()
        except (OSError, ValueError):
            continue
        if most.isdigit() and int(most) < 1 << 50:  # cgroup v1 says "no limit" as a huge number
            counts = dict(line.split() for line in stat.splitlines())
            cache = sum(int(counts.get(key, 0)) for key in ("inactive_file", "active_file"))
            room.append((int(most) - used + cache) >> 20)
    return max(0, min(room))


def disk_free(path: Path) -> int:
    """MiB free for this user where `path` is or will be."""
    while not path.exists():
        path = path.parent
    return shutil.disk_usage(path).free >> 20


def _apt_install(names: Sequence[str]) -> list[str]:
    return ["apt-get", "install", "-y", "--no-install-recommends", *names]
