"""Where machines come from. A node is a host that Ansible and testinfra reach by ssh, nothing more."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from lab.config import Config
from lab.host import Tool
from lab.state import LabState


class Provider(ABC):
    """One lab's machines.

    Args:
        config: the lab as asked for.
        state: its folder on this host.
    """

    name: ClassVar[str]
    #: What of the source's artifacts its machines are made of, by name (`Source.machine_image`).
    image_parts: ClassVar[tuple[str, ...]]
    #: Host commands it needs.
    tools: ClassVar[tuple[Tool, ...]] = ()
    #: Whether its machines take this host's memory and disk, and their ports are forwarded from 127.0.0.1.
    on_this_host: ClassVar[bool] = True
    #: Whether its machines are there before the lab and after it, and are given back as they were.
    machines_stay: ClassVar[bool] = False
    #: Whether a Kubernetes that is on the machines already may be removed from them.
    adopt = False

    def __init__(self, config: Config, state: LabState) -> None:
        self.config = config
        self.state = state

    def further_tools(self) -> tuple[Tool, ...]:
        """Host commands that only this lab's configuration asks for."""
        return ()

    @abstractmethod
    def faults(self) -> list[str]:
        """Everything else on the host that stands in the way, one a line, all at once; touches nothing."""

    def limits(self, labs: int) -> list[str]:
        """Which limits of the host leave too little for so many more labs like this one; touches nothing."""
        del labs
        return []

    @abstractmethod
    def proxy_modes(self) -> tuple[str, ...]:
        """The proxy modes that the machines' kernel can serve."""

    @abstractmethod
    def up(self, image: Mapping[str, Path]) -> bool:
        """Have every machine running and reachable by ssh; those that already are stay as they are.

        Args:
            image: artifact by the names in `image_parts`.

        Returns:
            Whether anything had to be started.

        Raises:
            BringUpError: a machine could not be started.
            WaitTimeout: a machine did not answer in time.
        """

    @abstractmethod
    def down(self) -> None:
        """Leave nothing behind, however little of the lab there is. Its folder is the caller's to remove."""

    @abstractmethod
    def status(self) -> dict[str, str]:
        """For each node: `running`, `stopped` or `absent`."""

    @abstractmethod
    def operator(self) -> list[str]:
        """The argv prefix that runs a command as a machine on the lab's LAN outside the cluster."""

    def become(self, node: str) -> tuple[str, ...]:
        """The argv prefix that makes a command on a node root's; empty where ssh lets root in."""
        del node
        return ()

    def host_vars(self, node: str) -> dict[str, object]:
        """Further Ansible variables of a node: who logs in, and how."""
        del node
        return {"ansible_user": "root", "ansible_ssh_private_key_file": str(self.state.ssh_key)}

    def forward(self) -> dict[str, int]:
        """Make the API server and the chosen NodePorts reachable on 127.0.0.1.

        Returns:
            Port of 127.0.0.1 by name: `api`, or the NodePort's number.
        """
        return {}

    def way_out(self, url: str) -> str:
        """Lead the machines to a proxy of this host's; returns the proxy's URL as they reach it."""
        return url

    def memory_used(self) -> int | None:
        """MiB of this host's memory that the lab holds; None where nobody can tell."""
        return None

    @abstractmethod
    def evidence(self, into: Path) -> None:
        """Copy what the machines left outside themselves, such as consoles, into a folder."""
