"""Machines that exist: the user's own, reached as the user's ssh reaches them, and given back as they were.

Nothing is touched on a machine before its preflight is whole; from then on a stamp on it says whose it is.
Only a machine with this lab's own stamp is ever reset.
"""

from __future__ import annotations

import getpass
import shlex
import tempfile
import uuid
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any

from lab import nodes, ssh
from lab.config import PROXY_MODES, NodeConfig
from lab.errors import BringUpError
from lab.host import Tool
from lab.progress import Progress
from lab.providers import ssh_faults, ssh_probe
from lab.providers.base import Provider
from lab.providers.ssh_probe import Probe
from lab.state import read_json, write_text

OWNER = "/etc/kube-service-lab/owner"
RESET_TIMEOUT = 600
# By `set -C`, which never writes over a file: two labs that come at once must not both take it for theirs.
STAMP = f"mkdir -p {Path(OWNER).parent}; (set -C; echo %s > {OWNER}) 2> /dev/null; cat {OWNER}"


class SshProvider(Provider):
    """Machines that are listed in the configuration. The operator's place is this host."""

    name = "ssh"
    image_parts = ()
    on_this_host = False
    machines_stay = True
    tools = (Tool("ssh", "openssh-client", "reaches the nodes"),)

    def faults(self) -> list[str]:
        """Every fault of every machine, all at once; a machine of this lab is only asked what may change."""
        files = {
            (name, self._ssh(node)[name]) for node in self.config.nodes for name in ("key", "known_hosts")
        }
        missing = [
            f"ssh.{name}: there is no file {file}" for name, file in files if file and not file.is_file()
        ]
        if missing:
            return sorted(missing)
        mine = self._mine
        found = [
            f"{node.name}: {fault}"
            for node in self.config.nodes
            for fault in ssh_faults.of_machine(
                self.config, node, self._probes[node.name], mine=mine, adopt=self.adopt
            )
        ]
        return [*found, *ssh_faults.of_all(self._probes)]

    def proxy_modes(self) -> tuple[str, ...]:
        """The modes that every machine's kernel has all it needs for; a silent machine lacks nothing."""
        kernels = [probe.kernel for probe in self._probes.values() if not probe.refusal]
        return tuple(mode for mode in PROXY_MODES if not any(kernel.lacks(mode) for kernel in kernels))

    def up(self, image: Mapping[str, Path]) -> bool:
        """Put this lab's stamp on every machine; all that is done there comes after."""
        del image
        ssh.write_users_config(
            self.state.ssh_config, hosts=self._hosts(), sockets=self.state.make_sockets_dir()
        )
        if not self._mine:
            write_text(self._record, f"{self.state.name} {uuid.uuid4()} {getpass.getuser()}\n")
        others = [name for name, probe in self._probes.items() if self._foreign(probe)]
        if self.adopt and others:
            self._reset(others)
        stamped = nodes.run(self.config, self.state, self, STAMP % shlex.quote(self._mine), timeout=60)
        refused = {name: said for name, said in stamped.items() if said.stdout.strip() != self._mine}
        if refused:
            raise BringUpError(
                "Not every machine could be taken into this lab.",
                details=[f"{name}: {said.stdout or said.stderr}".strip() for name, said in refused.items()],
            )
        return False

    def down(self) -> None:
        """Give back every machine that has this lab's stamp, as it was.

        Raises:
            BringUpError: a machine does not answer, or could not be given back; the others have been.
        """
        if not self._mine or not self.state.ssh_config.is_file():
            return  # no machine was ever touched
        owners = self._owners()
        mine = [name for name, owner in owners.items() if owner == self._mine]
        if mine:
            self._reset(mine)
        silent = [name for name, owner in owners.items() if owner is None]
        if silent:
            raise BringUpError(
                f"{len(silent)} of {len(owners)} machines do not answer, and were not given back: "
                f"{', '.join(silent)}.",
                details=[f"{name}: {self.config.node(name).address}" for name in silent],
                fix=f"lab down --name {self.state.name} again once they answer; with --forget they are left",
            )

    def status(self) -> dict[str, str]:
        """A machine that answers is `running`, or `absent` if it is not this lab's; else `stopped`."""
        if not self._mine or not self.state.ssh_config.is_file():
            return {node.name: "absent" for node in self.config.nodes}
        words = {None: "stopped", self._mine: "running"}
        return {name: words.get(owner, "absent") for name, owner in self._owners().items()}

    def operator(self) -> list[str]:
        """This host itself: it reaches the machines as it is."""
        return []

    def become(self, node: str) -> tuple[str, ...]:
        """By sudo, unless ssh lets root in or the configuration says how it is."""
        said = self._ssh(self.config.node(node))
        user = dict(self._settings[node]).get("user", "root")
        needed = user != "root" if said["become"] is None else said["become"]
        return ("sudo", "-n") if needed else ()

    def host_vars(self, node: str) -> dict[str, object]:
        """Who logs in there, whether by sudo, and whether host keys are checked, as the user's ssh does."""
        settings = dict(self._settings[node])
        variables: dict[str, object] = {
            "ansible_user": settings.get("user", "root"),
            "ansible_host_key_checking": settings.get("stricthostkeychecking") not in ("false", "no", "off"),
        }
        if self.become(node):
            variables |= {"ansible_become": True, "ansible_become_method": "sudo"}
        return variables

    def evidence(self, into: Path) -> None:
        """What the preflight read."""
        for name, probe in self._probes.items():
            answers = [f"@@@ {key}\n{answer}" for key, answer in probe.said.items()]
            write_text(into / f"{name}-probe.txt", "\n".join(answers or [probe.refusal]) + "\n")

    @property
    def _record(self) -> Path:
        """What this lab's machines are stamped with."""
        return self.state.dir / "owner"

    @property
    def _mine(self) -> str:
        return self._record.read_text().strip() if self._record.is_file() else ""

    def _ssh(self, node: NodeConfig) -> dict[str, Any]:
        """How a machine is reached: what is said of it, else what is said of all."""
        common, own = self.config.ssh.model_dump(), node.ssh.model_dump()
        return {key: common.get(key) if value is None else value for key, value in own.items()}

    @cached_property
    def _settings(self) -> dict[str, list[tuple[str, str]]]:
        """For each machine what ssh is told of it."""
        settings = {}
        for node in self.config.nodes:
            said = self._ssh(node)
            names = {
                "user": "user",
                "port": "port",
                "key": "identityfile",
                "known_hosts": "userknownhostsfile",
            }
            options = {option: str(said[name]) for name, option in names.items() if said[name] is not None}
            if "identityfile" in options:
                options["identitiesonly"] = "yes"
            settings[node.name] = ssh.users_settings(str(said["host"] or node.address), options)
        return settings

    def _hosts(self) -> dict[str, tuple[str, list[tuple[str, str]]]]:
        return {node.name: (str(node.address), self._settings[node.name]) for node in self.config.nodes}

    @cached_property
    def _probes(self) -> dict[str, Probe]:
        """What every machine says of itself; asked once."""
        names = [node.name for node in self.config.nodes]
        with (
            tempfile.TemporaryDirectory(prefix="ksl-ssh-") as folder,
            ThreadPoolExecutor(len(names)) as pool,
        ):
            config = Path(folder) / "config"
            ssh.write_users_config(config, hosts=self._hosts(), sockets=None)
            return dict(zip(names, pool.map(lambda name: ssh_probe.ask(config, name), names), strict=True))

    def _foreign(self, probe: Probe) -> bool:
        """Whether there is a Kubernetes on a machine that is not this lab's."""
        there = probe.said.get("owner") or probe.lines("kubernetes") or probe.lines("programs")
        return bool(there) and probe.said.get("owner") != self._mine

    def _owners(self) -> dict[str, str | None]:
        """Each machine's stamp, empty where there is none, None where nobody answers."""
        asked = f"echo @; cat {OWNER} 2> /dev/null || :"
        said = nodes.run(self.config, self.state, self, asked, timeout=30)
        return {
            name: answer.stdout.removeprefix("@").strip() if answer.stdout.startswith("@") else None
            for name, answer in said.items()
        }

    def _reset(self, names: Iterable[str]) -> None:
        """Undo on these machines what the playbooks did, last thing first; the stamp goes with the rest."""
        from lab import ansible, kubeconfig  # noqa: PLC0415 -- it asks providers for their machines itself

        told = read_json(self.state.told_file) or {}
        ansible.run_playbook(
            "reset",
            config=self.config,
            state=self.state,
            provider=self,
            extravars={**told, "fetch_dir": str(kubeconfig.fetched(self.state))},
            progress=Progress(quiet=True),
            folder=self.state.new_run("reset"),
            limit=",".join(names),
            timeout=RESET_TIMEOUT,
        )
