"""Machines on a LAN in namespaces of the lab's own: what every such provider does alike."""

from __future__ import annotations

from abc import abstractmethod
from ipaddress import IPv4Address, IPv4Interface
from pathlib import Path
from urllib.parse import urlsplit

from lab import forward, memory, relay
from lab.errors import BringUpError
from lab.netns import Namespace
from lab.providers.base import Provider

PROXY_PORT = 3128
DEFAULT_PORTS = {"http": 80, "https": 443}


class NamespacedProvider(Provider):
    """A provider whose lab is kept by one holder (`lab/netns.py`), on record in the lab's folder."""

    def operator(self) -> list[str]:
        """Into the lab's namespaces."""
        namespace = Namespace.load(self._record)
        if namespace is None:
            raise BringUpError(f"the lab {self.state.name!r} is not running", fix="lab up")
        return namespace.enter()

    def forward(self) -> dict[str, int]:
        """Serve the forwarded ports from inside the namespaces; one forwarder a lab."""
        return forward.ensure(self.config, self.state, self.operator())

    def way_out(self, url: str) -> str:
        """By a relay on the operator's address: the machines reach nobody else."""
        parts, address = urlsplit(url), str(self.config.network.gateway)
        if parts.hostname is None or parts.hostname == address:
            return url
        namespace = Namespace.load(self._record)
        if namespace is None:
            raise BringUpError(f"the lab {self.state.name!r} is not running", fix="lab up")
        target = (parts.hostname, parts.port or DEFAULT_PORTS[parts.scheme])
        relay.ensure(namespace, (address, PROXY_PORT), target, log=self.state.dir / "relay.log")
        user = f"{parts.netloc.rpartition('@')[0]}@" if "@" in parts.netloc else ""
        return parts._replace(netloc=f"{user}{address}:{PROXY_PORT}").geturl()

    def down(self) -> None:
        """End the namespaces, and with them every process and mount."""
        namespace = Namespace.load(self._record)
        if namespace:
            namespace.destroy()
        self._record.unlink(missing_ok=True)

    def memory_used(self) -> int | None:
        """What the processes of its namespaces hold, and those of the containers below them."""
        namespace = Namespace.load(self._record)
        if namespace is None:
            return None
        return memory.used([namespace.pid, *(process.pid for process in namespace.processes())])

    def status(self) -> dict[str, str]:
        """A node is `running` when its process is, `stopped` when only its disk is there."""
        running = self._running()
        states = {}
        for node in self.config.nodes:
            disk = (self.state.nodes_dir / node.name).is_dir()
            states[node.name] = "running" if node.name in running else "stopped" if disk else "absent"
        return states

    @abstractmethod
    def _running(self) -> set[str]:
        """The names of the nodes that run."""

    @property
    def _record(self) -> Path:
        return self.state.machines_file

    @property
    def _gateway(self) -> IPv4Interface:
        return self._interface(self.config.network.gateway)

    def _interface(self, address: IPv4Address) -> IPv4Interface:
        return IPv4Interface((address, self.config.network.subnet.prefixlen))
