"""One lab's own piece of the host: a user, network, PID and mount namespace that live and die together.

A *holder* process (PID 1 of the PID namespace) keeps them. Everything that belongs to the lab on this host
runs inside: the machines, the port forwarder, Ansible, pytest. So ending the holder ends all of it, whatever
state the lab is in, and the bridge, the veths and the tmpfs go with it. No rights on the host are needed: the
user is root only inside the user namespace (user_namespaces(7), pid_namespaces(7)). A provider that needs the
host's own root inside, as containers do, leaves the user namespace out.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from ipaddress import IPv4Interface
from pathlib import Path

from lab import shell
from lab.errors import BringUpError, WaitTimeout
from lab.host import Tool

TOOLS = (
    Tool("unshare", "util-linux", "makes the lab's namespaces"),
    Tool("nsenter", "util-linux", "runs commands on the lab's network"),
    Tool("ip", "iproute2", "makes the lab's bridge and links"),
)
BRIDGE = "lab0"
MAKE = ("--net", "--pid", "--mount", "--fork")
MAKE_USER = ("--user", "--map-root-user")
ENTER = ("--net", "--pid")
ENTER_USER = ("--user", "--preserve-credentials")
# The holder waits for a word, so that it ends by itself if its parent is killed before its PID is on record;
# after that it only reaps what is left to it.
HOLDER = "read -r go || exit 1; exec <&- ; while :; do sleep 86400 & wait; done"


@dataclass(frozen=True)
class Process:
    """A process of a namespace: its id on the host and its command line."""

    pid: int
    argv: tuple[str, ...]


@dataclass(frozen=True)
class Namespace:
    """The namespaces of one lab, known by their holder.

    Args:
        pid: the holder's process id on the host.
        started: its start time in clock ticks since boot (proc_pid_stat(5), field 22), against PID reuse.
        boot: the host's boot id.
    """

    pid: int
    started: int
    boot: str

    @classmethod
    def load(cls, file: Path) -> Namespace | None:
        """The namespace on record in `file`, or None when there is none or it no longer lives."""
        try:
            namespace = cls(**json.loads(file.read_text()))
        except (OSError, ValueError, TypeError):
            return None
        return namespace if namespace.alive() else None

    @classmethod
    def create(cls, file: Path, *, user: bool = True) -> Namespace:
        """Make the namespaces and put them on record in `file`.

        Args:
            file: the record.
            user: make a user namespace too; False is for the host's root only.

        Raises:
            BringUpError: the host does not let this user make them.
        """
        # A kill between these lines leaves nothing: the holder ends when its standard input closes unheard.
        with subprocess.Popen(
            ["unshare", *(MAKE_USER if user else ()), *MAKE, "sh", "-c", HOLDER],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
            text=True,
        ) as parent:
            assert parent.stdin is not None
            assert parent.stderr is not None
            pid = _only_child(parent)
            if pid is None:
                parent.kill()
                raise BringUpError(
                    "this user cannot make network namespaces on this host",
                    details=parent.stderr.read().splitlines(),
                    fix="lab doctor",
                )
            namespace = cls(pid=pid, started=_started(pid) or 0, boot=_boot_id())
            draft = file.with_suffix(".new")
            draft.write_text(json.dumps(asdict(namespace)))
            draft.replace(file)
            parent.stdin.write("go\n")
            parent.stdin.close()
            # The parent only waits for the holder: leave both running.
            parent.returncode = 0
        return namespace

    def alive(self) -> bool:
        """Whether the holder still runs."""
        return self.boot == _boot_id() and _started(self.pid) == self.started

    def enter(self, *extra: str) -> list[str]:
        """The argv prefix that runs a command inside, as root there; `extra` adds to nsenter's options."""
        # nsenter refuses to enter the user namespace it is in already. "self", not os.getpid(): inside, this
        # process has another id than in /proc, which is the host's.
        user = ENTER_USER if _user_namespace(self.pid) != _user_namespace("self") else ()
        return ["nsenter", "--target", str(self.pid), *user, *ENTER, *extra, "--"]

    def ip(self, *commands: str) -> None:
        """Run `ip` commands inside, all in one call.

        Raises:
            BringUpError: the first of them that failed, with its message.
        """
        done = subprocess.run(
            [*self.enter(), "ip", "-batch", "-"],
            input="\n".join(commands) + "\n",
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        if done.returncode:
            raise BringUpError(
                "the lab's network could not be made", details=[*done.stderr.splitlines(), *commands]
            )

    def bridge(self, gateway: IPv4Interface) -> None:
        """Make the lab's LAN: a bridge with the operator's own address, as the outside machine on it."""
        self.ip(
            "link set lo up",
            f"link add {BRIDGE} type bridge",
            f"addr add {gateway} dev {BRIDGE}",
            f"link set {BRIDGE} up",
        )

    def processes(self) -> Iterator[Process]:
        """Every process inside but the holder."""
        mine = _pid_namespace(self.pid)
        for entry in Path("/proc").iterdir():
            if (
                entry.name.isdigit()
                and int(entry.name) != self.pid
                and _pid_namespace(int(entry.name)) == mine
            ):
                with contextlib.suppress(OSError):
                    argv = (entry / "cmdline").read_bytes().split(b"\0")
                    yield Process(
                        int(entry.name), tuple(part.decode(errors="replace") for part in argv if part)
                    )

    def destroy(self, *, timeout: float = 30) -> None:
        """End everything inside and the namespaces with it.

        Raises:
            WaitTimeout: the kernel did not end the processes in `timeout` seconds.
        """
        if not self.alive():
            return
        inside = _pid_namespace(self.pid)
        outside = self._wrappers()
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        end = time.monotonic() + timeout
        while left := [*_members(inside), *(pid for pid, start in outside.items() if _started(pid) == start)]:
            if time.monotonic() > end:
                raise WaitTimeout(
                    f"processes of the lab did not end within {timeout:.0f} s",
                    details=[f"PID {pid}" for pid in left],
                )
            time.sleep(0.02)

    def _wrappers(self) -> dict[int, int | None]:
        """The processes outside that only wait for one inside (unshare, nsenter), with their start times."""
        entering = [b"nsenter", b"--target", str(self.pid).encode()]
        found = []
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if entry.name.isdigit() and (entry / "cmdline").read_bytes().split(b"\0")[:3] == entering:
                    found.append(int(entry.name))
        with contextlib.suppress(OSError, StopIteration):
            status = Path(f"/proc/{self.pid}/status").read_text().splitlines()
            parent = int(next(line for line in status if line.startswith("PPid:")).split()[1])
            if Path(f"/proc/{parent}/comm").read_text().strip() == "unshare":
                found.append(parent)
        # The very command that is waiting here may have come through nsenter itself.
        return {pid: _started(pid) for pid in found if pid not in (os.getpid(), os.getppid())}


def faults() -> list[str]:
    """Why this user cannot make the namespaces; empty when they can be made. Tries it, and leaves nothing."""
    if shutil.which("unshare") is None or shutil.which("ip") is None:
        return []  # reported as missing tools
    probe = ["unshare", *MAKE_USER, *MAKE]
    tried = shell.run([*probe, "ip", "link", "add", "lab0", "type", "bridge"], timeout=20, check=False)
    if tried.ok:
        return []
    why = tried.stderr.strip().splitlines()[-1:] or [f"exit {tried.returncode}"]
    hint = "user namespaces are switched off"
    for name, bad in (
        ("kernel.apparmor_restrict_unprivileged_userns", "1"),
        ("kernel.unprivileged_userns_clone", "0"),
        ("user.max_user_namespaces", "0"),
    ):
        file = Path("/proc/sys") / name.replace(".", "/")
        if file.is_file() and file.read_text().strip() == bad:
            wanted = {"1": "0", "0": "1"}[bad] if name != "user.max_user_namespaces" else "10000"
            hint = f"{name} is {bad}: sudo sysctl -w {name}={wanted}, or run as root"
    return [f"this user cannot make a bridge in a network namespace of its own ({why[0]}): {hint}"]


def _only_child(parent: subprocess.Popen[str], timeout: float = 10) -> int | None:
    children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children")
    end = time.monotonic() + timeout
    while parent.poll() is None and time.monotonic() < end:
        with contextlib.suppress(OSError):
            # The child maps the user before it becomes the holder: entered earlier, nothing is allowed.
            for pid in map(int, children.read_text().split()):
                if Path(f"/proc/{pid}/comm").read_text().strip() == "sh":
                    return pid
        time.sleep(0.005)
    return None


def _members(namespace: str | None) -> Sequence[int]:
    if namespace is None:
        return ()
    pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    return [pid for pid in pids if _pid_namespace(pid) == namespace]


def _pid_namespace(pid: int) -> str | None:
    return _namespace(pid, "pid")


def _user_namespace(pid: int | str) -> str | None:
    return _namespace(pid, "user")


def _namespace(pid: int | str, kind: str) -> str | None:
    try:
        return str(Path(f"/proc/{pid}/ns/{kind}").readlink())
    except OSError:
        return None


def _started(pid: int) -> int | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()
    # A zombie still has a stat file; it holds nothing any more.
    return None if fields[0] in "ZX" else int(fields[19])


def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
