"""User-mode machines: each a Linux kernel of its own in an ordinary process (`ARCH=um`), on one bridge.

How it works and what it costs is in docs/user-mode-nodes.md.
"""

from __future__ import annotations

import base64
import contextlib
import os
import struct
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Interface
from pathlib import Path

from lab import netns, shell, ssh
from lab.errors import BringUpError, LabError
from lab.host import Tool
from lab.netns import Namespace

TOOLS = (
    *netns.TOOLS,
    *ssh.TOOLS,
    Tool("taskset", "util-linux", "keeps each user-mode node on one processor"),
    Tool("ethtool", "ethtool", "switches off the links' offloads, which the vector driver cannot take"),
)
INTERFACE = "vec0"
RECEIVED = b"".join(
    struct.pack("=HBBI", *instruction)
    for instruction in (
        (0x30, 0, 0, 0xFFFFF004),  # A = the packet's type: SKF_AD_OFF + SKF_AD_PKTTYPE
        (0x15, 0, 1, 4),  # PACKET_OUTGOING?
        (0x06, 0, 0, 0),  # leave it out
        (0x06, 0, 0, 0x40000),  # take it whole
    )
)
"""A BPF program (linux/filter.h) that lets through what comes over a link, and not what is sent on it.

Without it a machine reads every frame that it has sent: the vector driver sets PACKET_QDISC_BYPASS, which
would keep them away, on the socket that it reads from, not on the one that it sends by.
"""
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
            call 14 times dearer. A kernel with roam.patch only begins there, and changes it as a whole.
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
        pin, roam = [], []
        if self.pin is not None:
            pin = ["taskset", "--cpu-list", str(self.pin)]
            roam = [f"roam={','.join(map(str, sorted(os.sched_getaffinity(0))))}"]
        return [
            *pin,
            str(kernel),
            f"umid={self.name}",
            f"uml_dir={self.folder}/",
            f"mem={self.memory}M",
            f"ncpus={self.cpus}",
            *roam,
            "seccomp=auto",
            f"ubd0={disk}",
            "root=/dev/ubda",
            "rw",
            f"hostfs={self.hostfs or self.folder / 'nothing'}",
            f"vec0:transport=raw,ifname={link},depth=128,bpffile={self.filter}",
            "con=null",
            "con0=null,fd:1",
            "quiet",
            "init=/sbin/init",
            # A lab's addresses are IPv4: kube-proxy need not program every rule a second time for IPv6.
            "ipv6.disable=1",
            f"lab.hostname={self.name}",
            f"lab.address={self.address}",
            f"lab.gateway={gateway.ip}",
            f"lab.interface={INTERFACE}",
            f"lab.ssh_key={base64.b64encode(public_key.encode()).decode()}",
        ]

    @property
    def filter(self) -> Path:
        """The filter on what its kernel reads from its link, as the kernel takes it."""
        return self.folder / "filter.bpf"

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
            machine.filter.write_bytes(RECEIVED)
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


def pins(machines: int, lab: int = 0) -> list[int]:
    """The host's processor for each machine: one for the master alone, the others in turn for the rest.

    Args:
        machines: how many there are, the master first.
        lab: the lab's place among all labs: the masters of several labs get processors of their own.
    """
    allowed = sorted(os.sched_getaffinity(0))
    master = lab % len(allowed)
    rest = [*allowed[master + 1 :], *allowed[:master]] or allowed
    return [allowed[master], *(rest[number % len(rest)] for number in range(machines - 1))]


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
    kernel: Path,
    disk: Path,
    *,
    writable: bool,
    hostfs: Path | None = None,
    memory: int = 3072,
    record: Path | None = None,
) -> Iterator[Booted]:
    """Boot one machine alone for as long as the context lasts, as baking the base image needs it.

    Leaving the context cleanly powers the machine off, so that its disk is whole; an error ends it at once.

    Args:
        kernel: the user-mode kernel.
        disk: a root image that can boot as a node.
        writable: write to the image itself.
        hostfs: the only folder of the host that the guest may mount (`mount -t hostfs none /mnt`).
        memory: MiB.
        record: where the namespace is on record, for whoever must end it if this process is killed.

    Raises:
        WaitTimeout: it did not boot or power off in time.
    """
    with tempfile.TemporaryDirectory(prefix="ksl-boot-") as temporary:
        folder = Path(temporary)
        record, key, config = record or folder / "machines.json", folder / "key", folder / "config"
        public_key = ssh.make_key(key)
        lan = Lan.make(record, IPv4Interface("192.168.1.1/24"))
        try:
            machine = Machine(
                name="machine",
                address=IPv4Interface("192.168.1.200/24"),
                memory=memory,
                cpus=1,
                pin=pins(1)[0],
                folder=folder,
                disk=disk,
                writable=writable,
                hostfs=hostfs,
            )
            ssh.write_config(config, hosts={machine.name: str(machine.address.ip)}, key=key, sockets=folder)
            lan.start({0: machine}, kernel, public_key)
            ssh.wait(lan.namespace.enter(), config, [machine.name], timeout=BOOT_TIMEOUT, running=lan.running)
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
