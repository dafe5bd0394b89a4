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


def install_command(tools: Sequence[Tool]) -> str:
    """The one command that installs all of them, to paste; `sudo` where it is needed."""
    sudo = [] if os.geteuid() == 0 else ["sudo"]
    return shlex.join([*sudo, *_apt_install(tools)])


def faults(tools: Iterable[Tool]) -> list[str]:
    """One line for each tool that is missing."""
    return [f"{t.command} is missing (package {t.package}): it {t.why}" for t in missing(tools)]


def can_install() -> bool:
    """Whether this process may install packages: root, on Debian or a system derived from it."""
    return os.geteuid() == 0 and shutil.which("apt-get") is not None


def install(tools: Iterable[Tool], progress: Progress, *, timeout: float = 900) -> None:
    """Install the packages of those tools that are missing, saying so.

    Raises:
        PrerequisiteError: this process may not, or a tool is still missing afterwards.
    """
    wanted = missing(tools)
    if not wanted:
        return
    if not can_install():
        raise PrerequisiteError(
            "This process cannot install packages: it must be root, on Debian.",
            details=faults(wanted),
            fix=install_command(wanted),
        )
    packages = _packages(wanted)
    env = {"DEBIAN_FRONTEND": "noninteractive"}
    with progress.step(f"Installing {len(packages)} Debian packages: {' '.join(packages)}"):
        # An old list names files that are gone, so it is fetched anew when something is to be installed.
        shell.run(["apt-get", "update"], timeout=timeout, env=env)
        shell.run(_apt_install(wanted), timeout=timeout, env=env)
    still = missing(wanted)
    if still:
        raise PrerequisiteError("Installing packages did not bring every command.", details=faults(still))


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


def _packages(tools: Iterable[Tool]) -> list[str]:
    return sorted({tool.package for tool in tools})


def _apt_install(tools: Iterable[Tool]) -> list[str]:
    return ["apt-get", "install", "-y", "--no-install-recommends", *_packages(tools)]
