"""What belongs to one lab on this host: its folder, its lock, its configuration as used, its runs."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab import lock, paths, shell
from lab.config import Config, check_name, from_values
from lab.errors import BringUpError, InputError


@dataclass(frozen=True)
class LabState:
    """The folder of the lab called `name`: `paths.state()/NAME`. Making the object touches nothing."""

    name: str

    def __post_init__(self) -> None:
        check_name(self.name)

    @property
    def dir(self) -> Path:
        """The lab's folder."""
        return paths.state() / self.name

    @property
    def lock_file(self) -> Path:
        """`.NAME.lock`, beside the folder: held by the command that works on the lab."""
        return paths.state() / f".{self.name}.lock"

    @property
    def config_file(self) -> Path:
        """`config.json`: the configuration the lab was brought up with."""
        return self.dir / "config.json"

    @property
    def machines_file(self) -> Path:
        """`machines.json`: the provider's own notes (process ids, start times)."""
        return self.dir / "machines.json"

    @property
    def ports_file(self) -> Path:
        """`ports.json`: the ports of 127.0.0.1 that lead into the lab."""
        return self.dir / "ports.json"

    @property
    def ssh_config(self) -> Path:
        """`ssh/config`: `ssh -F` of it reaches every node by name, from the operator's place."""
        return self.dir / "ssh" / "config"

    @property
    def ssh_key(self) -> Path:
        """`ssh/id_ed25519`: the private key that opens every node as root."""
        return self.dir / "ssh" / "id_ed25519"

    @property
    def kubeconfig(self) -> Path:
        """`kubeconfig`: for this host's own tools, server 127.0.0.1 and the forwarded port; mode 0600."""
        return self.dir / "kubeconfig"

    @property
    def kubeconfig_inside(self) -> Path:
        """`kubeconfig.inside`: for the operator's place, server at the master's own address; mode 0600."""
        return self.dir / "kubeconfig.inside"

    @property
    def told_file(self) -> Path:
        """`told.json`: what the playbooks were told besides the configuration, for undoing it."""
        return self.dir / "told.json"

    @property
    def finished_file(self) -> Path:
        """`finished`: there once a bring-up of the lab has come to its end."""
        return self.dir / "finished"

    @property
    def nodes_dir(self) -> Path:
        """`nodes/NAME/`: disk and console of each machine."""
        return self.dir / "nodes"

    @property
    def runs_dir(self) -> Path:
        """`runs/STAMP-VERB/`: what each run left behind."""
        return self.dir / "runs"

    @property
    def sockets_dir(self) -> Path:
        """Where ssh keeps its control sockets: short, since a unix socket's path ends at 108 bytes."""
        digest = hashlib.sha256(str(self.dir).encode()).hexdigest()[:10]
        base = Path(tempfile.gettempdir())
        if len(str(base)) > 40:
            base = Path("/tmp")
        return base / f"ksl-{os.getuid()}-{digest}"

    def exists(self) -> bool:
        """Whether anything of the lab is there, half-made ones included."""
        return self.dir.is_dir()

    def make(self) -> None:
        """Make the lab's folders, readable by this user only."""
        for folder in (self.dir, self.dir / "ssh", self.nodes_dir, self.runs_dir):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.make_sockets_dir()

    def make_sockets_dir(self) -> Path:
        """Make the folder of ssh's control sockets and see that it is this user's alone."""
        folder = self.sockets_dir
        folder.mkdir(mode=0o700, exist_ok=True)
        seen = folder.lstat()
        if not stat.S_ISDIR(seen.st_mode) or seen.st_uid != os.getuid() or seen.st_mode & 0o077:
            raise BringUpError(f"{folder} is not a private folder of this user.", fix=f"rm -r {folder}")
        return folder

    def start_over(self) -> None:
        """Remove all but what runs left behind; the provider has taken the machines down before."""
        self.close_connections()
        shutil.rmtree(self.sockets_dir, ignore_errors=True)
        for path in self.dir.iterdir():
            if path.is_dir() and path != self.runs_dir:
                shutil.rmtree(path)
            elif path.is_file():
                path.unlink()
        self.make()

    def remove(self) -> None:
        """Remove every file of the lab; the provider has taken the machines down before."""
        self.close_connections()
        shutil.rmtree(self.sockets_dir, ignore_errors=True)
        if self.dir.exists():
            shutil.rmtree(self.dir)

    def close_connections(self) -> None:
        """End the ssh connections that are kept open for the next command."""
        if not self.sockets_dir.is_dir():
            return
        for socket in filter(Path.is_socket, self.sockets_dir.iterdir()):
            argv = ["ssh", "-F", "none", "-o", f"ControlPath={socket}", "-O", "exit", "node"]
            with contextlib.suppress(Exception):
                shell.run(argv, timeout=10, check=False)

    def read_config(self) -> Config | None:
        """The configuration the lab was brought up with, None if there is none.

        Raises:
            InputError: the file is there and cannot be understood.
        """
        values = read_json(self.config_file)
        return None if values is None else from_values(values, where=str(self.config_file))

    def write_config(self, config: Config) -> None:
        """Remember the configuration as used."""
        write_json(self.config_file, config.model_dump(mode="json"))

    def new_run(self, verb: str) -> Path:
        """A fresh folder `runs/STAMP-VERB` for what a run leaves behind; the stamp is UTC."""
        return paths.fresh(self.runs_dir, f"-{verb}")

    @contextlib.contextmanager
    def lock(self, *, verb: str = "lab", wait: float = 0.0) -> Iterator[None]:
        """Hold the lab, so that two commands never work on it at once.

        The kernel lets go of it when this process ends, however it ends; children do not inherit it.

        Args:
            verb: what is being done, shown to whoever is refused.
            wait: seconds to wait for another command to finish.

        Raises:
            BringUpError: another command holds it.
        """
        with lock.hold(self.lock_file, verb=verb, busy=self._busy, wait=wait, keep=self.exists):
            yield

    def _busy(self, holder: str) -> BringUpError:
        return BringUpError(
            f"The lab {self.name!r} is busy.",
            details=[f"{holder} is working on it"],
            fix="wait until it has ended, or interrupt it with Ctrl-C",
        )

    @staticmethod
    def all() -> list[LabState]:
        """Every lab of this user, by name, half-made ones included."""
        if not paths.state().is_dir():
            return []
        found = []
        for folder in sorted(paths.state().iterdir()):
            with contextlib.suppress(InputError):
                if folder.is_dir() and not folder.name.startswith("."):
                    found.append(LabState(folder.name))
        return found


def read_json(path: Path) -> dict[str, Any] | None:
    """A file's JSON object, None if there is no such file.

    Raises:
        InputError: it is no JSON object.
    """
    try:
        text = path.read_text()
    except FileNotFoundError:
        return None
    try:
        values = json.loads(text)
    except ValueError as error:
        raise InputError(f"{path} is not JSON.", details=[str(error)], fix="lab down") from error
    if not isinstance(values, dict):
        raise InputError(f"{path} is not a JSON object.", fix="lab down")
    return values


def write_json(path: Path, values: Mapping[str, object], *, mode: int = 0o600) -> None:
    """Write a JSON object so that a reader sees the old file or the new one, never half of one."""
    write_text(path, json.dumps(values, indent=2, sort_keys=True) + "\n", mode=mode)


def write_text(path: Path, text: str, *, mode: int = 0o600) -> None:
    """Write a file whole: beside it first, then renamed over it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(handle, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
