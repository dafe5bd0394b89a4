"""Running a playbook in a machine that is booted for nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lab import ansible, user_mode
from lab.bundle.kinds.base import Work
from lab.config import Config, from_values
from lab.errors import BringUpError
from lab.progress import Progress
from lab.providers.base import Provider
from lab.state import LabState

TIMEOUT = 1800


def run(
    *, disk: Path, kernel: Path, hostfs: Path, extravars: Mapping[str, Any], work: Work, record: Path
) -> None:
    """Boot `disk` writable, run the playbook `bake` in it, power it off.

    Args:
        disk: the image; it is changed.
        kernel: the user-mode kernel.
        hostfs: a folder of this host that the node sees at /mnt, where `extravars` lead to.
        extravars: what to put on the disk.
        work: the build it is part of.
        record: keeps what ends the machine if this process is killed.
    """
    work.note("booting it")
    with user_mode.boot_once(kernel, disk, writable=True, hostfs=hostfs, record=record) as machine:
        machine.run("mount -t hostfs none /mnt")
        state = _State("bake", machine.ssh_config)
        config = from_values({"name": "bake", "nodes": [{"name": machine.name, "address": machine.address}]})
        ansible.run_playbook(
            "bake",
            config=config,
            state=state,
            provider=_Machine(config, state, machine),
            extravars={**extravars, "fetch_dir": str(work.scratch)},
            progress=_Notes(work),
            folder=work.scratch,
            timeout=TIMEOUT,
        )
        machine.run("umount /mnt && rm -rf /tmp/* /var/tmp/* && sync", timeout=600)
        # One command: the key that lets us in goes with it, so nothing need connect after it. This connection
        # may be cut by what it does; that the disk is whole is checked afterwards.
        machine.run(
            "rm -f /root/.ssh/authorized_keys /etc/ssh/ssh_host_*; sync; systemctl poweroff",
            timeout=120,
            check=False,
        )


class _State(LabState):
    """Only where the machine's key and ssh configuration are."""

    def __init__(self, name: str, ssh_config: Path) -> None:
        super().__init__(name)
        object.__setattr__(self, "_ssh_config", ssh_config)

    @property
    def ssh_config(self) -> Path:
        config: Path = self.__dict__["_ssh_config"]
        return config

    @property
    def ssh_key(self) -> Path:
        return self.ssh_config.with_name("key")

    @property
    def sockets_dir(self) -> Path:
        return self.ssh_config.parent


class _Machine(Provider):
    """The machine as the only one of a lab."""

    name = "bake"
    image_parts = ()

    def __init__(self, config: Config, state: LabState, machine: user_mode.Booted) -> None:
        super().__init__(config, state)
        self._machine = machine

    def faults(self) -> list[str]:
        return []

    def proxy_modes(self) -> tuple[str, ...]:
        return ()

    def up(self, image: Mapping[str, Path]) -> bool:
        raise BringUpError("This machine is up already.", details=list(image))

    def down(self) -> None:
        """Whoever booted it ends it."""

    def status(self) -> dict[str, str]:
        return {self._machine.name: "running"}

    def operator(self) -> list[str]:
        return list(self._machine.operator)

    def evidence(self, into: Path) -> None:
        (into / "console.log").write_bytes(self._machine.console.read_bytes())


class _Notes(Progress):
    """A display that tells the build's own."""

    def __init__(self, work: Work) -> None:
        super().__init__(quiet=True)
        self._work = work

    def activity(self, text: str) -> None:
        self._work.note(text)
