"""What of this host stands in the way of machines by Vagrant, whatever the hypervisor."""

from __future__ import annotations

import json
import tempfile
from ipaddress import IPv4Interface, IPv4Network
from typing import Any

from lab import shell
from lab.host import Tool
from lab.providers.vagrant_hypervisor import Hypervisor

TIMEOUT = 60


def plugin_faults(hypervisor: Hypervisor) -> list[str]:
    """Whether Vagrant has the plugin that the hypervisor needs."""
    if hypervisor.plugin is None or not Tool("vagrant", "", "").found():
        return []
    with tempfile.TemporaryDirectory() as folder:  # away from any Vagrantfile, none is read
        argv = ["vagrant", "plugin", "list", "--machine-readable"]
        env = {"VAGRANT_CWD": folder, "VAGRANT_CHECKPOINT_DISABLE": "1"}
        said = shell.run(argv, timeout=TIMEOUT, check=False, env=env).stdout
    if any(line.split(",")[2:4] == ["plugin-name", hypervisor.plugin] for line in said.splitlines()):
        return []
    name = hypervisor.plugin
    return [f"Vagrant has no plugin {name}: apt-get install {name}, or vagrant plugin install {name}"]


def network_faults(subnet: IPv4Network) -> list[str]:
    """Whether the host is on the lab's LAN already, by a network that is not the lab's."""
    if not Tool("ip", "", "").found():
        return []
    said = json.loads(shell.run(["ip", "-json", "-4", "address"], timeout=TIMEOUT).stdout)
    return [
        f"this host is {address.ip} in {address.network} by {link} already, and network.subnet is {subnet}: "
        "set network.subnet to one that is free, such as 192.168.57.0/24"
        for link, address in addresses(said)
        # VirtualBox keeps its adapters, and uses them again.
        if not link.startswith("vboxnet") and address.network.overlaps(subnet)
    ]


def addresses(said: list[dict[str, Any]]) -> list[tuple[str, IPv4Interface]]:
    """Interface and address, from what `ip -json -4 address` says."""
    return [
        (str(link["ifname"]), IPv4Interface(f"{one['local']}/{one['prefixlen']}"))
        for link in said
        for one in link.get("addr_info", [])
    ]
