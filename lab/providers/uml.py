"""User-mode nodes: every machine is a Linux kernel of its own in an ordinary process (`ARCH=um`).

All three proxy modes work, whatever the host's kernel has, without KVM, containers or root. How it works and
what it costs is in docs/user-mode-nodes.md.
"""

from __future__ import annotations

import base64
import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Interface
from pathlib import Path

from lab import forward, netns, shell, ssh
from lab.config import Config
from lab.errors import BringUpError, LabError
from lab.host import Tool
from lab.netns import Namespace
from lab.providers.base import Provider
from lab.state import LabState

TOOLS = (
    *netns.TOOLS,
    *ssh.TOOLS,
    Tool("taskset", "util-linux", "keeps each user-mode node on one processor"),
    Tool("ethtool", "ethtool", "switches off the links' offloads, which the vector driver cannot take"),
)
INTERFACE = "vec0"
BOOT_TIMEOUT = 120


@dataclass(frozen=True)
class Machine:
    """One user-mode node.

    Args:
        name: its host name, and the kernel's `umid`.
        address: on the lab's LAN, with the prefix length.
        memory: MiB.
        cpus: processors that the guest sees; each is a thread of the process.
        pin: the host's processor that its process is kept on, None for any: crossing cores makes a system
            call 14 times dearer.
        folder: its console and, unless `writable`, its COW file.
        disk: the base image; never written unless `writable`.
        writable: boot from the base image itself, to bake it.
        hostfs: the only folder of the host that the guest may mount.
    """

    name: str
    address: IPv4Interface
    memory: int
    cpus: int
    pin: int | None
    folder: Path
    disk: Path
    writable: bool = False
    hostfs: Path | None = None

    def argv(self, kernel: Path, *, link: str, gateway: IPv4Interface, public_key: str) -> list[str]:
        """The command line of its process."""
        disk = str(self.disk) if self.writable else f"{self.folder / 'disk.cow'},{self.disk}"
        pin = [] if self.pin is None else ["taskset", "--cpu-list", str(self.pin)]
        return [
            *pin,
            str(kernel),
            f"umid={self.name}",
            f"uml_dir={self.folder}/",
            f"mem={self.memory}M",
            f"ncpus={self.cpus}",
            "seccomp=auto",
            f"ubd0={disk}",
            "root=/dev/ubda",
            "rw",
            f"hostfs={self.hostfs or self.folder / 'nothing'}",
            f"vec0:transport=raw,ifname={link},depth=128,gro=1",
            "con=null",
            "con0=null,fd:1",
            "quiet",
            "init=/sbin/init",
            f"lab.hostname={self.name}",
            f"lab.address={self.address}",
            f"lab.gateway={gateway.ip}",
            f"lab.interface={INTERFACE}",
            f"lab.ssh_key={base64.b64encode(public_key.encode()).decode()}",
        ]

    @property
    def console(self) -> Path:
        """What its kernel and init print."""
        return self.folder / "console.log"


class Lan:
    """Machines on the bridge of one namespace.

    Args:
        namespace: where they run.
        gateway: the operator's own address.
    """

    def __init__(self, namespace: Namespace, gateway: IPv4Interface) -> None:
        self.namespace = namespace
        self.gateway = gateway

    @classmethod
    def make(cls, record: Path, gateway: IPv4Interface) -> Lan:
        """A new namespace, on record in a file, with its bridge."""
        lan = cls(Namespace.create(record), gateway)
        lan.namespace.bridge(gateway)
        return lan

    def running(self) -> set[str]:
        """The names of the machines whose process lives."""
        return {
            word.removeprefix("umid=")
            for process in self.namespace.processes()
            for word in process.argv
            if word.startswith("umid=")
        }

    def start(self, machines: Mapping[int, Machine], kernel: Path, public_key: str) -> None:
        """Start machines; the key is their number on the LAN, which names their links.

        Raises:
            BringUpError: a link could not be made, or a process ended at once.
        """
        # What is left of an earlier start goes first, one by one: a link that is not there fails the batch.
        for number in machines:
            with contextlib.suppress(LabError):
                self.namespace.ip(f"link del lab-vm{number}")
        commands: list[str] = []
        for number in machines:
            commands += [
                f"link add lab-vm{number} type veth peer name vm{number}",
                f"link set lab-vm{number} master {netns.BRIDGE} up",
                f"link set vm{number} promisc on up",
            ]
        self.namespace.ip(*commands)
        for number in machines:
            for link in (f"lab-vm{number}", f"vm{number}"):
                offloads = [word for name in ("rx", "tx", "gso", "gro", "tso") for word in (name, "off")]
                shell.run([*self.namespace.enter(), "ethtool", "--offload", link, *offloads], timeout=20)
        for number, machine in machines.items():
            machine.folder.mkdir(parents=True, exist_ok=True)
            (machine.folder / "nothing").mkdir(exist_ok=True)
            argv = machine.argv(kernel, link=f"vm{number}", gateway=self.gateway, public_key=public_key)
            # The guest's memory is a deleted file in TMPDIR: a tmpfs, gone with its mount namespace.
            memory = machine.folder / "memory"
            memory.mkdir(exist_ok=True)
            mounted = f'mount -t tmpfs -o mode=700,size={machine.memory + 16}m tmpfs "$0"'
            inside = ["unshare", "--mount", "sh", "-c", f'{mounted} && TMPDIR="$0" exec "$@"', str(memory)]
            with machine.console.open("wb") as console:
                process = subprocess.Popen(
                    [*self.namespace.enter("--mount"), *inside, *argv],
                    stdin=subprocess.DEVNULL,
                    stdout=console,
                    stderr=console,
                    start_new_session=True,
                )
            with contextlib.suppress(subprocess.TimeoutExpired):
                code = process.wait(0.05)
                raise BringUpError(
                    f"the user-mode kernel of {machine.name} ended at once, with exit code {code}",
                    details=shell.tail(machine.console.read_text(errors="replace")),
                )
            process.returncode = 0  # it outlives this process, so nobody waits for it


class UmlProvider(Provider):
    """The default: user-mode nodes on a LAN in a namespace of their own."""

    name = "uml"
    image_parts = ("kernel", "disk")
    tools = TOOLS

    def __init__(self, config: Config, state: LabState) -> None:
        super().__init__(config, state)
        self._record = state.machines_file

    @property
    def _gateway(self) -> IPv4Interface:
        subnet = self.config.network.subnet
        return IPv4Interface((self.config.network.gateway, subnet.prefixlen))

    def faults(self) -> list[str]:
        """What of user namespaces is refused here."""
        return namespace_faults()

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
        ssh.wait(lan.namespace.enter(), self.state.ssh_config, list(hosts), timeout=BOOT_TIMEOUT)
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
                pin=pin(number) if self.config.machine.cpus == 1 else None,
                folder=self.state.nodes_dir / node.name,
                disk=disk,
            )
            for number, node in enumerate(self.config.nodes)
        ]


def pin(number: int) -> int:
    """The host's processor for a machine: the first for the master alone, the rest in turn."""
    allowed = sorted(os.sched_getaffinity(0))
    if number == 0 or len(allowed) == 1:
        return allowed[0]
    return allowed[1:][(number - 1) % (len(allowed) - 1)]


def namespace_faults() -> list[str]:
    """Why this user cannot make the namespaces; empty when they can be made. Tries it, and leaves nothing."""
    if shutil.which("unshare") is None or shutil.which("ip") is None:
        return []  # reported as missing tools
    probe = ["unshare", "--user", "--map-root-user", "--net", "--pid", "--mount", "--fork"]
    tried = shell.run([*probe, "ip", "link", "add", "lab0", "type", "bridge"], timeout=20, check=False)
    if tried.ok:
        return []
    why = tried.stderr.strip().splitlines()[-1:] or [f"exit {tried.returncode}"]
    hint = "user namespaces are switched off"
    for name, bad in (
        ("kernel.apparmor_restrict_unprivileged_userns", "1"),
        ("kernel.unprivileged_userns_clone", "0"),
        ("user.max_user_namespaces", "0"),
    ):
        file = Path("/proc/sys") / name.replace(".", "/")
        if file.is_file() and file.read_text().strip() == bad:
            wanted = {"1": "0", "0": "1"}[bad] if name != "user.max_user_namespaces" else "10000"
            hint = f"{name} is {bad}: sudo sysctl -w {name}={wanted}, or run as root"
    return [f"this user cannot make a bridge in a network namespace of its own ({why[0]}): {hint}"]


@dataclass(frozen=True)
class Booted:
    """A machine booted for one purpose: how to run commands as its neighbour, and its ssh configuration."""

    operator: Sequence[str]
    ssh_config: Path
    name: str
    address: str
    console: Path

    def run(self, *command: str, timeout: float = 60, check: bool = True) -> shell.Result:
        """Run a command line in the machine."""
        return shell.run(
            [*self.operator, *ssh.argv(self.ssh_config, self.name, *command)], timeout=timeout, check=check
        )


@contextlib.contextmanager
def boot_once(
    kernel: Path, disk: Path, *, writable: bool, hostfs: Path | None = None, memory: int = 3072
) -> Iterator[Booted]:
    """Boot one machine alone for as long as the context lasts, as baking the base image needs it.

    Leaving the context cleanly powers the machine off, so that its disk is whole; an error ends it at once.

    Args:
        kernel: the user-mode kernel.
        disk: a root image that can boot as a node.
        writable: write to the image itself.
        hostfs: the only folder of the host that the guest may mount (`mount -t hostfs none /mnt`).
        memory: MiB.

    Raises:
        WaitTimeout: it did not boot or power off in time.
    """
    with tempfile.TemporaryDirectory(prefix="ksl-boot-") as temporary:
        folder = Path(temporary)
        record, key, config = folder / "machines.json", folder / "key", folder / "config"
        public_key = ssh.make_key(key)
        lan = Lan.make(record, IPv4Interface("192.168.1.1/24"))
        try:
            machine = Machine(
                name="machine",
                address=IPv4Interface("192.168.1.200/24"),
                memory=memory,
                cpus=1,
                pin=pin(0),
                folder=folder,
                disk=disk,
                writable=writable,
                hostfs=hostfs,
            )
            ssh.write_config(config, hosts={machine.name: str(machine.address.ip)}, key=key, sockets=folder)
            lan.start({0: machine}, kernel, public_key)
            ssh.wait(lan.namespace.enter(), config, [machine.name], timeout=BOOT_TIMEOUT)
            booted = Booted(
                lan.namespace.enter(), config, machine.name, str(machine.address.ip), machine.console
            )
            yield booted
            booted.run("sync; systemctl poweroff", check=False)
            _wait_off(lan, machine, timeout=90)
        finally:
            lan.namespace.destroy()


def _wait_off(lan: Lan, machine: Machine, *, timeout: float) -> None:
    """Wait until the guest has unmounted its disk; its process may linger after that, and is ended."""
    end = time.monotonic() + timeout
    while machine.name in lan.running() and time.monotonic() < end:
        if "Power down" in machine.console.read_text(errors="replace"):
            time.sleep(1)
            return
        time.sleep(0.1)
