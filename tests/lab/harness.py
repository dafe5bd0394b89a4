"""The `lab` command as a user runs it, and what it leaves on the host."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

LAB = Path(sys.executable).with_name("lab")

MakeLab = Callable[[str], "Lab"]
"""The fixture `make_lab`: from a label to a lab of the test's own."""


@dataclass(frozen=True)
class Result:
    """How one run of the command ended."""

    argv: tuple[str, ...]
    exit: int
    stdout: str
    stderr: str
    seconds: float

    def assert_success(self) -> Self:
        return self.assert_exit(0)

    def assert_exit(self, code: int) -> Self:
        assert self.exit == code, f"exit {self.exit} instead of {code}\n{self}"
        assert "Traceback (most recent call last)" not in self.stderr, f"a traceback\n{self}"
        return self

    def json(self) -> Any:
        return json.loads(self.stdout)

    def __str__(self) -> str:
        said = f"$ {shlex.join(self.argv)}   (exit {self.exit} after {self.seconds:.1f} s)"
        return "\n".join([said, "--- stdout", self.stdout, "--- stderr", self.stderr])


@dataclass
class Lab:
    """One lab of a test's own, with its state and temporary files in a folder of its own.

    Every process that the command starts has this folder in its environment: that is how what is left of the
    lab is found, wherever it may hide.
    """

    name: str
    root: Path
    command: tuple[str, ...] = (str(LAB),)
    env: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for folder in (self.state, self.tmp):
            folder.mkdir(exist_ok=True)

    @property
    def state(self) -> Path:
        return self.root / "state"

    @property
    def tmp(self) -> Path:
        return self.root / "tmp"

    def argv(self, *args: str) -> list[str]:
        return [*self.command, *args]

    def environment(self) -> dict[str, str]:
        ours = {"KUBE_SERVICE_LAB_STATE": str(self.state), "TMPDIR": str(self.tmp), "NO_COLOR": "1"}
        return {**os.environ, **ours, **self.env}

    def run(self, *args: str, timeout: float = 300, stdin: str | None = None) -> Result:
        """Run `lab ARGS` to its end."""
        argv = self.argv(*args)
        begun = time.monotonic()
        done = subprocess.run(
            argv,
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            timeout=timeout,
            env=self.environment(),
            cwd=self.root,
            check=False,
        )
        seconds = time.monotonic() - begun
        return Result(tuple(argv), done.returncode, done.stdout, done.stderr, seconds)

    def named(self, verb: str, *args: str, timeout: float = 300, stdin: str | None = None) -> Result:
        """Run `lab VERB --name NAME ARGS`."""
        return self.run(verb, "--name", self.name, *args, timeout=timeout, stdin=stdin)

    def start(self, *args: str) -> subprocess.Popen[bytes]:
        """Start `lab ARGS` and do not wait; what it says is thrown away."""
        return subprocess.Popen(
            self.argv(*args),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=self.environment(),
            cwd=self.root,
        )

    def interrupted(self, *args: str, after: str, timeout: float = 120) -> Result:
        """Run `lab ARGS` until it has said `after`, press Ctrl-C, and see how it ends."""
        # Where the tests are a job in the background SIGINT is ignored, for children too.
        argv = ["env", "--default-signal=INT", *self.argv(*args)]
        begun = time.monotonic()
        with subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env=self.environment(),
            cwd=self.root,
        ) as process:
            assert process.stderr is not None
            said = []
            for line in process.stderr:
                said.append(line)
                if after in line:
                    process.send_signal(signal.SIGINT)
                    break
            _, rest = process.communicate(timeout=timeout)
        seconds = time.monotonic() - begun
        return Result(tuple(argv), process.returncode, "", "".join([*said, rest]), seconds)

    @property
    def folder(self) -> Path:
        return self.state / self.name

    def left(self) -> list[str]:
        """Everything of this lab that is on the host, one a line: empty after `lab down`."""
        return [
            *(f"process {pid}: {command}" for pid, command in self.processes().items()),
            *(f"mount {mount}" for mount in mounts(self.root)),
            *(f"file {path}" for path in sorted(self.state.rglob("*"))),
            # pytest keeps the temporary folders of its last runs, as it does for everybody.
            *(
                f"file {path}"
                for path in sorted(self.tmp.iterdir())
                if not path.name.startswith("pytest-of-")
            ),
            *(f"control group {path}" for path in self.cgroups()),
            *podman_things(self.name),
        ]

    def cgroups(self) -> list[Path]:
        """The control groups that the lab's node containers were in."""
        mark = hashlib.sha256(str(self.folder).encode()).hexdigest()[:12]
        return sorted(Path("/sys/fs/cgroup").rglob(f"kube-service-lab-{mark}"))

    def processes(self) -> dict[int, str]:
        """Process id to command line of every process of this lab, in whatever namespace."""
        mark = f"KUBE_SERVICE_LAB_STATE={self.state}".encode()
        found = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) != os.getpid():
                environment, command = read(entry / "environ"), read(entry / "cmdline")
                if mark in environment.split(b"\0") or str(self.folder).encode() in command:
                    found[int(entry.name)] = shlex.join(command.decode(errors="replace").split("\0")[:-1])
        return found


def can(provider: str) -> bool:
    """Whether this host may raise it: in CI, where the test installs what is missing, it must."""
    return provider != "podman" or (
        os.geteuid() == 0 and (shutil.which("podman") is not None or "CI" in os.environ)
    )


def wait_until_gone(lab: Lab, *, timeout: float = 5) -> list[str]:
    """What is left of a lab once the kernel has had a moment to reap what was ended."""
    end = time.monotonic() + timeout
    while (left := lab.left()) and time.monotonic() < end:
        time.sleep(0.1)
    return left


def mounts(below: Path) -> set[str]:
    """Mount points below a folder in any process's mount namespace."""
    seen: set[str] = set()
    namespaces: set[str] = set()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            namespace = str((entry / "ns/mnt").readlink())
        except OSError:
            continue
        if namespace in namespaces:
            continue
        namespaces.add(namespace)
        for line in read(entry / "mountinfo").decode(errors="replace").splitlines():
            point = line.split()[4]
            if Path(point).is_relative_to(below):
                seen.add(f"{point} (in {namespace})")
    return seen


def host_links() -> set[str]:
    """The network interfaces of the host itself."""
    return {entry.name for entry in Path("/sys/class/net").iterdir()}


def podman_things(name: str) -> list[str]:
    """Containers, networks and volumes with the lab's name in theirs."""
    if shutil.which("podman") is None:
        return []
    kinds: dict[str, Sequence[str]] = {
        "container": ("ps", "--all", "--format", "{{.Names}}"),
        "network": ("network", "ls", "--format", "{{.Name}}"),
        "volume": ("volume", "ls", "--format", "{{.Name}}"),
    }
    found = []
    for kind, arguments in kinds.items():
        said = subprocess.run(
            ["podman", *arguments], capture_output=True, text=True, timeout=60, check=False
        ).stdout
        found += [f"podman {kind} {thing}" for thing in said.split() if name in thing]
    return found


def read(path: Path) -> bytes:
    """A file of /proc; nothing once its process is gone or is another user's."""
    try:
        return path.read_bytes()
    except OSError:
        return b""
