"""What is behind Vagrant: libvirt or VirtualBox, its tools, its limits, what may be left of it."""

from __future__ import annotations

import contextlib
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable
from ipaddress import IPv4Network
from pathlib import Path
from typing import ClassVar

from lab import shell
from lab.config import Config
from lab.host import Tool

KVM = Path("/dev/kvm")
CPUINFO = Path("/proc/cpuinfo")
#: Seconds that are too few for a control plane whose processor is emulated (measured: docs/vagrant.md).
EMULATED = 900
#: Where VirtualBox 6.1.28 and later let host-only networks be, unless a file says otherwise (its manual,
#: "Host-only networking").
VBOX_RANGES = (IPv4Network("192.168.56.0/21"),)
VBOX_FILE = Path("/etc/vbox/networks.conf")
TIMEOUT = 60


class Hypervisor(ABC):
    """A hypervisor that Vagrant drives, named as Vagrant names it."""

    name: ClassVar[str]
    tools: ClassVar[tuple[Tool, ...]]
    #: The Vagrant plugin that it needs; Debian's package has the same name.
    plugin: ClassVar[str | None] = None

    @abstractmethod
    def faults(self, config: Config) -> list[str]:
        """What of the host stands in the way of this lab, one a line; touches nothing."""

    @abstractmethod
    def sweep(self, machines: Iterable[str], network: str) -> None:
        """Remove what of these names Vagrant has lost sight of, when it was killed in the middle."""


class Libvirt(Hypervisor):
    """The system's libvirt, as the plugin vagrant-libvirt uses it."""

    name = "libvirt"
    plugin = "vagrant-libvirt"
    tools = (
        Tool("vagrant", "vagrant-libvirt", "makes the virtual machines, by its plugin for libvirt"),
        Tool("virsh", "libvirt-clients", "asks libvirt"),
        Tool("libvirtd", "libvirt-daemon-system", "runs the machines"),
        Tool("qemu-system-x86_64", "qemu-system-x86", "is each machine"),
        Tool("dnsmasq", "dnsmasq-base", "gives the machines their first address"),
    )

    def faults(self, config: Config) -> list[str]:
        """Whether libvirt answers this user, and whether emulation is what is wanted."""
        found = []
        if Tool("virsh", "", "").found():
            asked = self._virsh("uri", check=False)
            if not asked.ok:
                why = asked.stderr.strip().removeprefix("error: ").splitlines()[:1] or ["it does not say why"]
                found.append(
                    f"libvirt does not answer this user ({why[0]}): systemctl start libvirtd, and be in the "
                    "group libvirt"
                )
        given = config.kubernetes.control_plane_timeout
        if not has_kvm() and given < EMULATED:
            found.append(
                "there is no KVM on this host, so each machine's processor is emulated, 13 to 35 times "
                f"slower: a control plane does not come up in {given} s. If that is what you want, set "
                "kubernetes.control_plane_timeout and kubernetes.settle_timeout to 1800 and "
                "vagrant.boot_timeout to 900"
            )
        return found

    def sweep(self, machines: Iterable[str], network: str) -> None:
        """Machines with their disks, then the network."""
        for name in self._names("list") & set(machines):
            self._virsh("destroy", name, check=False)
            self._virsh("undefine", name, "--remove-all-storage", "--managed-save")
        for name in self._names("net-list") & {network}:
            self._virsh("net-destroy", name, check=False)
            self._virsh("net-undefine", name, check=False)

    def _names(self, verb: str) -> set[str]:
        return set(self._virsh(verb, "--all", "--name").stdout.split())

    def _virsh(self, *words: str, check: bool = True) -> shell.Result:
        return shell.run(["virsh", "--connect", "qemu:///system", *words], timeout=TIMEOUT, check=check)


class VirtualBox(Hypervisor):
    """Oracle's VirtualBox."""

    name = "virtualbox"
    tools = (
        Tool("vagrant", "vagrant", "makes the virtual machines"),
        Tool("VBoxManage", "virtualbox", "runs the machines"),
    )

    def faults(self, config: Config) -> list[str]:
        """Whether it lets the lab's LAN be where it is asked for."""
        subnet, allowed = config.network.subnet, vbox_ranges(VBOX_FILE)
        if any(subnet.subnet_of(one) for one in allowed):
            return []
        ranges = ", ".join(map(str, allowed))
        line = " ".join(["*", *map(str, allowed), str(subnet)])
        why = f"VirtualBox lets host-only networks be in {ranges} only, and network.subnet is {subnet}"
        return [f"{why}: put the line `{line}` into {VBOX_FILE}, or set network.subnet to 192.168.56.0/24"]

    def sweep(self, machines: Iterable[str], network: str) -> None:
        """Machines with their disks; its host-only adapters are shared, and stay."""
        del network
        said = shell.run(["VBoxManage", "list", "vms"], timeout=TIMEOUT).stdout
        for name in set(re.findall(r'^"([^"]*)"', said, re.MULTILINE)) & set(machines):
            shell.run(["VBoxManage", "controlvm", name, "poweroff"], timeout=TIMEOUT, check=False)
            shell.run(["VBoxManage", "unregistervm", name, "--delete"], timeout=TIMEOUT)


HYPERVISORS: dict[str, type[Hypervisor]] = {"libvirt": Libvirt, "virtualbox": VirtualBox}


def has_kvm(device: Path = KVM, cpuinfo: Path = CPUINFO) -> bool:
    """Whether the processor can run machines by itself; the Vagrantfile asks the same.

    The device alone does not tell: it is there, too, where only guests that know of it can run (kvm-pvm).
    """
    return (
        device.exists()
        and re.search(r"^flags\b.* (vmx|svm)\b", cpuinfo.read_text(), re.MULTILINE) is not None
    )


def vbox_ranges(file: Path) -> tuple[IPv4Network, ...]:
    """The IPv4 ranges that VirtualBox's networks.conf allows; without the file, its built-in one.

    Each line that begins with `*` holds ranges; a file without any such line allows everything
    (VirtualBox manual, "Host-only networking").
    """
    try:
        lines = file.read_text(errors="replace").splitlines()
    except OSError:
        return VBOX_RANGES
    found: list[IPv4Network] = []
    rules = [line.split()[1:] for line in lines if line.lstrip().startswith("*")]
    for word in (word for rule in rules for word in rule):
        with contextlib.suppress(ValueError):  # IPv6 ranges stand there too
            found.append(IPv4Network(word, strict=False))
    return tuple(found) if rules else (IPv4Network("0.0.0.0/0"),)
