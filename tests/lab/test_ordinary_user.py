"""A lab of an ordinary user, from the wheel: no root, no checkout, no pyenv."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from harness import Lab, read, wait_until_gone

from lab import paths

CHECKOUT = Path(__file__).resolve().parents[2]
#: Of the store, what only the podman provider uses: it is large, and needs root.
NOT_FOR_USERS = ("node-tree-",)

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0, reason="whoever runs this is an ordinary user already: test_providers.py is the test"
)


@dataclass(frozen=True)
class User:
    """An ordinary user of this host, made for this test."""

    name: str
    uid: int
    gid: int
    home: Path

    def prefix(self) -> tuple[str, ...]:
        """Runs a command as that user, with nothing of root's."""
        return ("setpriv", f"--reuid={self.uid}", f"--regid={self.gid}", "--init-groups", "--")

    def may_run(self, program: Path) -> bool:
        # By a shell of that user's: setpriv itself still has root's rights when it starts its program.
        words = [*self.prefix(), "sh", "-c", '"$0" --version', str(program)]
        return subprocess.run(words, capture_output=True, check=False, cwd="/").returncode == 0


@pytest.fixture
def user() -> Iterator[User]:
    name = f"ksl{secrets.token_hex(3)}"
    # Short and readable: unix sockets are in it, and it holds what the user is to run.
    base = Path(tempfile.mkdtemp(prefix="ksl-"))
    base.chmod(0o755)
    home = base / "home"
    run(
        "useradd", "--system", "--user-group", "--create-home", "--home-dir", home, "--shell", "/bin/sh", name
    )
    try:
        yield User(name, int(run("id", "--user", name)), int(run("id", "--group", name)), home)
    finally:
        run("userdel", name)
        shutil.rmtree(base, ignore_errors=True)


@pytest.fixture
def installed(user: User) -> Path:
    """The `lab` command of a virtual environment that the user can run, installed from the wheel."""
    run(
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--wheel-dir",
        user.home.parent,
        CHECKOUT,
    )
    (wheel,) = user.home.parent.glob("*.whl")
    wheel.chmod(0o644)
    pythons = [Path(sys.executable).resolve(), Path("/usr/bin/python3")]
    usable = [python for python in pythons if user.may_run(python) and new_enough(python)]
    assert usable, f"an ordinary user of this host can run none of {pythons}, or they are older than 3.11"
    environment = user.home.parent / "venv"
    run(sys.executable, "-m", "virtualenv", "--quiet", "--python", usable[0], environment)
    run(environment / "bin/pip", "install", "--quiet", "--no-warn-script-location", wheel)
    return environment / "bin/lab"


@pytest.fixture
def cache(user: User) -> Path:
    """What is built already, where the user can read it: root's own cache may be in a closed folder.

    Links, not copies, where the file system is the same: the user can read them and not write them.
    """
    mine = user.home.parent / "cache"
    store = mine / "store"
    store.mkdir(parents=True)
    source = paths.cache() / "store"
    same = source.stat().st_dev == store.stat().st_dev
    for artifact in sorted(source.iterdir()):
        if artifact.is_dir() and not artifact.name.startswith((".", *NOT_FOR_USERS)):
            run("cp", "--archive", "--link" if same else "--sparse=auto", artifact, store)
    for folder in (mine, store):
        os.chown(folder, user.uid, user.gid)
    return mine


@pytest.mark.timeout(600)
def test_a_lab_of_an_ordinary_user(user: User, installed: Path, cache: Path) -> None:
    env = {
        "HOME": str(user.home),
        "USER": user.name,
        "LOGNAME": user.name,
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "KUBE_SERVICE_LAB_CACHE": str(cache),
        "XDG_RUNTIME_DIR": "",
    }
    lab = Lab(f"user-{secrets.token_hex(2)}", user.home, (*user.prefix(), str(installed)), env)
    for folder in (lab.state, lab.tmp):
        os.chown(folder, user.uid, user.gid)

    try:
        up = lab.run(
            "up", "--config", "-", stdin=f"name: {lab.name}\nnetwork: {{plugin: routed}}\n", timeout=400
        )
        up.assert_success()

        owners = {pid: owner(pid) for pid in lab.processes()}
        assert sum("umid=" in argv for argv in lab.processes().values()) >= 3, lab.processes()
        assert {uid for uid in owners.values() if uid is not None} == {user.uid}, owners
        address = lab.named(
            "kubectl", "--", "get", "service", "mytest-svc", "--output=jsonpath={.spec.clusterIP}"
        ).assert_success()
        answer = lab.named(
            "exec", "node01", "--", "curl", "-sS", "-m", "10", f"http://{address.stdout.strip()}"
        )
        assert answer.assert_success().stdout.startswith("Hello Kubernetes bootcamp! | Running on: mytest-")
        # The course is inside the wheel, and its commands find the lab of this very installation.
        lesson = lab.run("lesson", "check", "--name", lab.name, "1").assert_exit(1).stdout
        assert 'services "web" not found' in lesson, lesson
        assert "Lesson 1 is not there yet." in lesson
    finally:
        down = lab.named("down", timeout=120)
    down.assert_success()
    assert wait_until_gone(lab) == []


def owner(pid: int) -> int | None:
    """The user that a process runs as, seen from the host; None once it has ended."""
    # Not the owner of the folder in /proc: that is root's when the process may not be looked into.
    for line in read(Path(f"/proc/{pid}/status")).decode().splitlines():
        if line.startswith("Uid:"):
            return int(line.split()[1])
    return None


def new_enough(python: Path) -> bool:
    said = subprocess.run(
        [python, "-c", "import sys; sys.exit(sys.version_info < (3, 11))"], capture_output=True, check=False
    )
    return said.returncode == 0


def run(*argv: str | Path) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, f"{argv}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout
