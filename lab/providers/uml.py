"""User-mode nodes: all three proxy modes, whatever the host's kernel has, without KVM, containers or root."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from lab import netns, ssh, user_mode
from lab.netns import Namespace
from lab.providers.namespaced import NamespacedProvider
from lab.state import LabState
from lab.user_mode import Lan, Machine


class UmlProvider(NamespacedProvider):
    """The default: user-mode nodes on a LAN in a namespace of their own."""

    name = "uml"
    image_parts = ("kernel", "disk")
    tools = user_mode.TOOLS

    def faults(self) -> list[str]:
        """What of user namespaces is refused here."""
        return netns.faults()

    def proxy_modes(self) -> tuple[str, ...]:
        """All: the machines bring their own kernel, with ip_vs."""
        return ("iptables", "ipvs", "nftables")

    def up(self, image: Mapping[str, Path]) -> bool:
        """Start the machines that do not run, on COW files over the base image."""
        public_key = ssh.make_key(self.state.ssh_key)
        hosts = {node.name: str(node.address) for node in self.config.nodes}
        sockets = self.state.make_sockets_dir()
        ssh.write_config(self.state.ssh_config, hosts=hosts, key=self.state.ssh_key, sockets=sockets)
        namespace = Namespace.load(self._record)
        lan = Lan(namespace, self._gateway) if namespace else Lan.make(self._record, self._gateway)
        running = lan.running()
        wanted = {
            number: machine
            for number, machine in enumerate(self._machines(image["disk"]))
            if machine.name not in running
        }
        if wanted:
            lan.start(wanted, image["kernel"], public_key)
        ssh.wait(
            lan.namespace.enter(),
            self.state.ssh_config,
            list(hosts),
            timeout=user_mode.BOOT_TIMEOUT,
            running=lan.running,
        )
        return bool(wanted)

    def evidence(self, into: Path) -> None:
        """The consoles."""
        for node in self.config.nodes:
            console = self.state.nodes_dir / node.name / "console.log"
            if console.is_file():
                shutil.copy(console, into / f"{node.name}-console.log")

    def _running(self) -> set[str]:
        namespace = Namespace.load(self._record)
        return Lan(namespace, self._gateway).running() if namespace else set()

    def _machines(self, disk: Path) -> list[Machine]:
        one = self.config.machine.cpus == 1
        pins = user_mode.pins(len(self.config.nodes), LabState.all().index(self.state)) if one else None
        return [
            Machine(
                name=node.name,
                address=self._interface(node.address),
                memory=self.config.machine.memory,
                cpus=self.config.machine.cpus,
                pin=pins[number] if pins else None,
                folder=self.state.nodes_dir / node.name,
                disk=disk,
            )
            for number, node in enumerate(self.config.nodes)
        ]
