"""Stand-ins that behave: machines that start and stop, a source that has all, playbooks done at once."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import yaml

from lab import kubeconfig, shell
from lab.ansible import Run
from lab.config import Config
from lab.errors import BringUpError, LabError
from lab.host import Tool
from lab.progress import Progress
from lab.providers.base import Provider
from lab.sources.base import Source
from lab.state import LabState

ADMIN_CONF = {
    "clusters": [{"name": "kubernetes", "cluster": {"server": "https://192.168.1.200:6443"}}],
    "users": [{"name": "kubernetes-admin", "user": {"client-key-data": "c2VjcmV0"}}],
}


class FakeProvider(Provider):
    """Machines that only this class knows of; set its attributes to make the host a bad one."""

    name: ClassVar[str] = "uml"
    image_parts: ClassVar[tuple[str, ...]] = ("disk",)
    tools: ClassVar[tuple[Tool, ...]] = ()
    modes: ClassVar[tuple[str, ...]] = ("iptables", "ipvs", "nftables")
    wrong: ClassVar[list[str]] = []
    running: ClassVar[dict[str, set[str]]] = {}
    ended: ClassVar[list[str]] = []
    interrupted: ClassVar[bool] = False
    cannot_end: ClassVar[bool] = False

    @classmethod
    def reset(cls) -> None:
        cls.wrong, cls.running, cls.ended = [], {}, []

    def faults(self) -> list[str]:
        return list(self.wrong)

    def proxy_modes(self) -> tuple[str, ...]:
        return self.modes

    def up(self, image: Mapping[str, Path]) -> bool:
        assert image.keys() >= set(self.image_parts)
        if self.interrupted:
            self.running[self.state.name] = {self.config.master.name}
            raise KeyboardInterrupt
        before = self.running.get(self.state.name, set())
        self.running[self.state.name] = {node.name for node in self.config.nodes}
        return before != self.running[self.state.name]

    def down(self) -> None:
        if self.cannot_end:
            raise BringUpError("A machine does not end.")
        self.ended.append(self.config.provider)
        self.running.pop(self.state.name, None)

    def status(self) -> dict[str, str]:
        there = self.running.get(self.state.name, set())
        return {node.name: "running" if node.name in there else "absent" for node in self.config.nodes}

    def operator(self) -> list[str]:
        return []

    def forward(self) -> dict[str, int]:
        return {"api": 16443, "30000": 30000}

    def evidence(self, into: Path) -> None:
        (into / "master-console.log").write_text("Welcome")


class FakeSource(Source):
    """Has everything, unless `wrong` says otherwise."""

    def __init__(self) -> None:
        self.wrong: list[str] = []
        self.packages: list[str] = []
        self.built = 0

    def faults(self, config: Config) -> list[str]:
        del config
        return [*self.wrong, *self.packages]

    def missing_packages(self, config: Config) -> list[str]:
        del config
        return list(self.packages)

    def components(self, config: Config) -> list[str]:
        del config
        return []

    def ensure(self, config: Config, progress: Progress) -> None:
        del config, progress
        self.built += 1

    def machine_image(self, config: Config) -> dict[str, Path]:
        del config
        return {"disk": Path("/disk.img")}

    def extravars(self, config: Config) -> dict[str, Any]:
        del config
        return {"image_repository": "example"}

    def program(self, config: Config, name: str) -> Path:
        del config
        return Path("/nowhere") / name


class FakePlaybooks:
    """Playbooks that are done at once: the first run of one on a lab changes things, the next does not."""

    def __init__(self) -> None:
        self.ran: list[str] = []
        self.asked: list[dict[str, Any]] = []
        self.timeouts: list[float] = []
        self.mode: str | None = None
        self.stuck_in: str | None = None
        self.error: LabError | None = None
        self.logs = "== kubelet\nI1122 10:00:00.000 fine\nE1122 10:00:00.000 cannot do it"

    def run(
        self,
        name: str,
        *,
        config: Config,
        state: LabState,
        extravars: Mapping[str, Any],
        folder: Path,
        timeout: float,
        **_: object,
    ) -> Run:
        if self.error is not None:
            raise self.error
        first = config.proxy.mode != self.mode
        self.ran.append(name)
        self.asked.append(dict(extravars))
        self.timeouts.append(timeout)
        self.mode = config.proxy.mode
        fetched = kubeconfig.fetched(state)
        fetched.mkdir(parents=True, exist_ok=True)
        (fetched / "admin.conf").write_text(yaml.safe_dump(ADMIN_CONF))
        changed = {node.name: 2 if first else 0 for node in config.nodes}
        return Run(changed, (), (("a task", 1.0),), folder / name, 1.0)

    def effective_modes(self, config: Config, *_: object) -> dict[str, str]:
        mode = self.stuck_in or self.mode or "(no answer)"
        return {node.name: mode for node in config.nodes}

    def on_nodes(
        self, config: Config, *_: object, only: list[str] | None = None, **__: object
    ) -> dict[str, shell.Result]:
        names = only or [node.name for node in config.nodes]
        return {name: shell.Result(("sh",), 0, self.logs, "", 0.1) for name in names}
