"""User-mode nodes: all three proxy modes, whatever the host's kernel has, without KVM, containers or root."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from ipaddress import IPv4Interface
from pathlib import Path

from lab import forward, netns, ssh, user_mode
from lab.config import Config
from lab.errors import BringUpError
from lab.netns import Namespace
from lab.providers.base import Provider
from lab.state import LabState
from lab.user_mode import Lan, Machine


class UmlProvider(Provider):
    """The default: user-mode nodes on a LAN in a namespace of their own."""

    name = "uml"
    image_parts = ("kernel", "disk")
    tools = user_mode.TOOLS

    def __init__(self, config: Config, state: LabState) -> None:
        super().__init__(config, state)
        self._record = state.machines_file

    @property
    def _gateway(self) -> IPv4Interface:
        subnet = self.config.network.subnet
        return IPv4Interface((self.config.network.gateway, subnet.prefixlen))

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
        ssh.wait(lan.namespace.enter(), self.state.ssh_config, list(hosts), timeout=user_mode.BOOT_TIMEOUT)
        return bool(wanted)

    def down(self) -> None:
        """End the namespaces, and every process with them."""
        namespace = Namespace.load(self._record)
        if namespace:
            namespace.destroy()
        self._record.unlink(missing_ok=True)

    def status(self) -> dict[str, str]:
        """A node is `running` when its kernel's process lives, `stopped` when only its disk is there."""
        namespace = Namespace.load(self._record)
        running = Lan(namespace, self._gateway).running() if namespace else set()
        states = {}
        for node in self.config.nodes:
            disk = self.state.nodes_dir / node.name / "disk.cow"
            states[node.name] = (
                "running" if node.name in running else "stopped" if disk.exists() else "absent"
            )
        return states

    def operator(self) -> list[str]:
        """Into the lab's user, network and PID namespace."""
        namespace = Namespace.load(self._record)
        if namespace is None:
            raise BringUpError(f"the lab {self.state.name!r} is not running", fix="lab up")
        return namespace.enter()

    def forward(self) -> dict[str, int]:
        """Serve the forwarded ports from inside the namespace; one forwarder a lab."""
        return forward.ensure(self.config, self.state, self.operator())

    def evidence(self, into: Path) -> None:
        """The consoles."""
        for node in self.config.nodes:
            console = self.state.nodes_dir / node.name / "console.log"
            if console.is_file():
                shutil.copy(console, into / f"{node.name}-console.log")

    def _machines(self, disk: Path) -> list[Machine]:
        prefix = self.config.network.subnet.prefixlen
        return [
            Machine(
                name=node.name,
                address=IPv4Interface((node.address, prefix)),
                memory=self.config.machine.memory,
                cpus=self.config.machine.cpus,
                pin=user_mode.pin(number) if self.config.machine.cpus == 1 else None,
                folder=self.state.nodes_dir / node.name,
                disk=disk,
            )
            for number, node in enumerate(self.config.nodes)
        ]
