"""Virtual machines by Vagrant, on libvirt or VirtualBox: what the Vagrantfile of this project describes.

The lab's command and a plain `vagrant up` read the same file. The command gives it the whole configuration as
JSON (`machines.json`), and keeps Vagrant's own notes (`VAGRANT_DOTFILE_PATH`) in the lab's folder. Machines
that a plain `vagrant up` has made are taken over by the first `lab up` of that name.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from importlib import import_module
from ipaddress import IPv4Interface
from pathlib import Path
from typing import Any

from lab import paths, shell, ssh, vagrant_box
from lab.config import PROXY_MODES, Config, load
from lab.errors import BringUpError, LabError, WaitTimeout
from lab.host import Tool
from lab.providers import vagrant_faults
from lab.providers.base import Provider
from lab.providers.vagrant_hypervisor import HYPERVISORS
from lab.state import LabState, read_json, write_json

#: Seconds for what Vagrant does besides waiting for a machine to boot: copying its disk, setting it up.
AROUND = 600
QUICK = 120
#: An emulated processor takes seconds to agree on a key.
CONNECT_TIMEOUT = 20
#: Lets root in by the lab's own key, and says who and where the machine is.
LET_IN = """
set -e
install -d -m 700 /root/.ssh
touch /root/.ssh/authorized_keys
chmod 600 /root/.ssh/authorized_keys
grep -qxF {key} /root/.ssh/authorized_keys || echo {key} >> /root/.ssh/authorized_keys
hostname
ip -4 -o address | while read -r _ name _ address _; do echo "$name $address"; done
"""


class VagrantProvider(Provider):
    """Virtual machines on a private network that the host is on, too."""

    name = "vagrant"
    image_parts = ()
    tools = (
        *ssh.TOOLS,
        Tool("ip", "iproute2", "shows which networks the host is on"),
    )

    def __init__(self, config: Config, state: LabState) -> None:
        super().__init__(config, state)
        self.hypervisor = HYPERVISORS[config.vagrant.hypervisor]()

    def further_tools(self) -> tuple[Tool, ...]:
        """The hypervisor's."""
        return self.hypervisor.tools

    def faults(self) -> list[str]:
        """The hypervisor's, its plugin's, and whether the lab's LAN is free on this host."""
        found = [*self.hypervisor.faults(self.config), *vagrant_faults.plugin_faults(self.hypervisor)]
        if self._notes() is None and not self._plain():
            found += vagrant_faults.network_faults(self.config.network.subnet)
        return found

    def proxy_modes(self) -> tuple[str, ...]:
        """All: the machines bring a distribution's kernel, with ip_vs."""
        return PROXY_MODES

    def up(self, image: Mapping[str, Path]) -> bool:
        """Have Vagrant start the machines that do not run, and let the lab's own key in."""
        key = ssh.make_key(self.state.ssh_key)
        hosts = {node.name: str(node.address) for node in self.config.nodes}
        sockets = self.state.make_sockets_dir()
        ssh.write_config(
            self.state.ssh_config,
            hosts=hosts,
            key=self.state.ssh_key,
            sockets=sockets,
            connect_timeout=CONNECT_TIMEOUT,
        )
        notes = self._notes() or self._take_notes(image)
        started = any(status != "running" for status in self.status().values())
        if started:
            boot = len(hosts) * self.config.vagrant.boot_timeout + AROUND
            with self._failures("vagrant up"):
                self._vagrant(boot).up(provider=self.hypervisor.name)
        if started or not notes.get("open"):
            self._let_in(key)
            write_json(self._record, {**notes, "open": True})
        ssh.wait([], self.state.ssh_config, list(hosts), timeout=self.config.vagrant.boot_timeout)
        return started

    def down(self) -> None:
        """Have Vagrant destroy the machines, and remove what it has lost sight of."""
        if (notes := self._notes()) is None:
            return
        try:
            with self._failures("vagrant destroy"):
                self._vagrant(AROUND).destroy()
        finally:
            prefix = str(notes.get("prefix", self._prefix))
            self.hypervisor.sweep([f"{prefix}-{node.name}" for node in self.config.nodes], prefix)
        self._record.unlink(missing_ok=True)

    def status(self) -> dict[str, str]:
        """As Vagrant says."""
        seen: dict[str, str] = {}
        if self._notes() is not None and Tool("vagrant", "", "").found():
            with self._failures("vagrant status"):
                seen = {one.name: one.state for one in self._vagrant(QUICK).status()}
        words = {"running": "running", "not_created": "absent"}
        return {
            node.name: words.get(seen.get(node.name, "not_created"), "stopped") for node in self.config.nodes
        }

    def operator(self) -> list[str]:
        """This host: it has the first address of the lab's LAN."""
        return []

    def evidence(self, into: Path) -> None:
        """All that Vagrant has said, and what it was told."""
        for file in (self._log, self._record):
            if file.is_file():
                shutil.copy(file, into / file.name)

    @property
    def _record(self) -> Path:
        return self.state.machines_file

    @property
    def _log(self) -> Path:
        return self.state.dir / "vagrant.log"

    @property
    def _prefix(self) -> str:
        """What the names of the lab's machines begin with: one of another state folder has another."""
        mark = hashlib.sha256(str(self.state.dir).encode()).hexdigest()[:8]
        return f"kube-service-lab-{self.state.name}-{mark}"

    def _notes(self) -> dict[str, Any] | None:
        with contextlib.suppress(LabError):
            return read_json(self._record)
        return {}

    def _take_notes(self, image: Mapping[str, Path]) -> dict[str, Any]:
        """Write down what the Vagrantfile is to make, before it makes anything."""
        notes = {**self.config.model_dump(mode="json"), "prefix": self._prefix}
        if plain := self._plain():
            notes |= {"prefix": f"kube-service-lab-{self.config.name}", "dotfile": str(plain)}
        elif "box" in image:
            notes["box_version"] = vagrant_box.add(image["box"], self.config.kubernetes.version)
        write_json(self._record, notes)
        return notes

    def _plain(self) -> Path | None:
        """Vagrant's notes of the machines that a plain `vagrant up` has made for the lab of this name."""
        root = paths.share("Vagrantfile").parent
        folder = root / ".vagrant"
        wanted = [folder / "machines" / node.name / self.hypervisor.name / "id" for node in self.config.nodes]
        if not any(file.is_file() for file in wanted):
            return None
        plain = load(root / "lab.yaml") if (root / "lab.yaml").is_file() else Config()
        return folder if plain.name == self.config.name else None

    def _let_in(self, key: str) -> None:
        """Put the lab's key on every machine by the way that Vagrant has, and see that each is the one meant.

        Raises:
            BringUpError: a machine has another name or address than it should.
        """
        with self._failures("vagrant ssh-config"):
            text = self._vagrant(QUICK).ssh_config()
        file = self.state.dir / "ssh" / "vagrant"
        file.write_text(text)
        wrong = []
        script = LET_IN.format(key=shlex.quote(key))
        for node in self.config.nodes:
            remote = 'if [ "$(id -u)" = 0 ]; then exec sh -s; else exec sudo -n sh -s; fi'
            argv: list[str | Path] = [
                "ssh",
                "-F",
                file,
                "-o",
                "BatchMode=yes",
                "-o",
                f"ConnectTimeout={CONNECT_TIMEOUT}",
                node.name,
                remote,
            ]
            name, *rest = shell.run(argv, input=script, timeout=QUICK).stdout.splitlines()
            addresses = [line.split()[-1] for line in rest]
            if name != node.name or not any(IPv4Interface(one).ip == node.address for one in addresses):
                wrong.append(
                    f"{node.name}: is called {name} and has {', '.join(addresses)}, not {node.address}"
                )
        if wrong:
            fix = "vagrant destroy and lab up, or what they are in lab.yaml"
            raise BringUpError("The machines are not those that are asked for.", details=wrong, fix=fix)

    def _vagrant(self, timeout: float) -> Any:
        """python-vagrant for this lab; a command of its that takes longer is ended."""
        notes = self._notes() or {}
        vagrant: Any = import_module("vagrant").Vagrant(
            root=str(paths.share("Vagrantfile").parent),
            env={
                **os.environ,
                "VAGRANT_CWD": str(paths.share("Vagrantfile").parent),
                "VAGRANT_DOTFILE_PATH": notes.get("dotfile", str(self.state.dir / "vagrant")),
                "VAGRANT_DEFAULT_PROVIDER": self.hypervisor.name,
                "LAB_VAGRANT_CONFIG": str(self._record),
                "VAGRANT_CHECKPOINT_DISABLE": "1",
                "VAGRANT_NO_COLOR": "1",
            },
            out_cm=self._logged,
            err_cm=self._logged,
        )
        # It bounds nothing, and what it has started outlives it.
        words = vagrant._make_vagrant_command
        bound = ["timeout", "--kill-after=30", f"{timeout:.0f}"]
        vagrant._make_vagrant_command = lambda args: shell.tethered(bound, words(args))
        return vagrant

    @contextlib.contextmanager
    def _logged(self) -> Iterator[Any]:
        self._log.parent.mkdir(parents=True, exist_ok=True)
        with self._log.open("ab") as sink:
            yield sink

    @contextlib.contextmanager
    def _failures(self, what: str) -> Iterator[None]:
        """Say what Vagrant said."""
        begun = self._log.stat().st_size if self._log.is_file() else 0
        try:
            yield
        except subprocess.CalledProcessError as failed:
            said = self._log.read_bytes()[begun:].decode(errors="replace") if self._log.is_file() else ""
            details = [*shell.tail(said), f"all that it said: {self._log}"]
            if failed.returncode in (124, 137):
                raise WaitTimeout(f"{what} did not end in time.", details=details) from failed
            raise BringUpError(
                f"{what} failed with exit code {failed.returncode}.", details=details
            ) from failed
