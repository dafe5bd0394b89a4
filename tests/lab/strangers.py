"""Machines that no lab made: user-mode nodes of plain Debians, nothing of Kubernetes on them, known by ssh.

They are on a LAN in a namespace of the test's own; an ordinary user logs in and becomes root by sudo. Some of
the packages that a node needs are missing, and can be had from an apt repository on their own disk.
"""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import shutil
import subprocess
import tarfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Interface
from pathlib import Path

from lab import paths, ssh, user_mode
from lab.bundle import apt
from lab.bundle.builder import Builder
from lab.bundle.component import Components
from lab.config import Config
from lab.progress import Progress
from lab.sources.built import builder
from lab.user_mode import Lan, Machine
from lab.versions import minor

USER = "alice"
SUITES = {"12": "bookworm", "13": "trixie"}
"""The suites of the Debian releases that strangers may have."""
#: Packages that a node needs and strangers lack, with what they depend on.
MISSING = ("conntrack", "ipvsadm", "socat")
GATEWAY = IPv4Interface("192.168.77.1/24")
#: What an ordinary Debian has and the nodes' root has not: installed on every stranger's disk.
ORDINARY = ("sudo",)
#: What their apt repository holds and they lack: with what Ansible's module apt asks for.
OFFERED = (*MISSING, "python3-apt", "python-apt-common")

DISK = """
tree=$1 root=$2 debs=$3 disk=$4
mkdir "$tree" && tar -C "$tree" -xf "$root" --exclude=./dev/*
mkdir -p "$tree/srv" && cp -r "$debs" "$tree/srv/debs"
echo 'deb [trusted=yes] file:/srv/debs ./' > "$tree/etc/apt/sources.list"
truncate -s 8G "$disk"
mke2fs -q -F -t ext4 -L node -m 0 -i 32768 -J size=16 -E lazy_itable_init=0 -d "$tree" "$disk"
"""
MAKE_STRANGER = f"""
set -e
dpkg --install --force-unsafe-io /srv/debs/ordinary/*.deb
dpkg --purge {" ".join(OFFERED)}
useradd --create-home --password '*' --shell /bin/bash {USER}
echo '{USER} ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/{USER}
mkdir -m 700 /home/{USER}/.ssh && cp /root/.ssh/authorized_keys /home/{USER}/.ssh/
chown -R {USER}: /home/{USER}/.ssh
: > /etc/machine-id
rm -f /etc/ssh/ssh_host_* /root/.ssh/authorized_keys
"""
# What anyone could see of a machine, but for what changes by itself: logs, caches, apt's and dpkg's notes.
# nft, not iptables-save, which makes tables by asking.
SNAPSHOT = r"""
export LC_ALL=C PATH=$PATH:/usr/sbin:/sbin
prune='' && set -f
for path in /proc /sys /dev /tmp/* /var/log/[!cp]* /var/cache /var/lib/apt /var/lib/dpkg /var/lib/systemd \
  /run/log /run/systemd /run/user /run/sudo /run/sshd.pid /run/udev; do
  prune="$prune -path $path -prune -o"
done
find / $prune -printf 'file %y %m %U:%G %p %l\n' | sort
set +f
find /etc /root /home /opt /usr/local /srv -xdev -type f -exec md5sum {} + | sed 's/^/content /' | sort -k 3
dpkg-query --show --showformat='package ${binary:Package} ${Version} ${db:Status-Status}\n'
nft list ruleset | sed 's/^/rule /'
if command -v ipset > /dev/null; then ipset list -name | sed 's/^/set /'; fi
grep -hE '^(TCP|UDP)' /proc/net/ip_vs | sed 's/^/server /'
ip -o link | sed 's/^[0-9]*: /link /; s/ qlen.*//'
ip -o address | sed 's/^[0-9]*: /address /; s/ valid_lft.*//'
ip route show table all | sed 's/^/route /' | sort
ip rule | sed 's/^/ip-rule /'
sed 's/^/mount /' /proc/mounts | sort
systemctl list-unit-files --no-legend --no-pager | sed 's/^/unit-file /'
systemctl list-units --all --no-legend --no-pager --plain --type=service,slice,path,socket |
  awk '{ print "unit", $1, $2, $3, $4 }' | grep -vE 'ssh@|user@|user-|session|systemd-|dpkg-db' | sort
sysctl --all 2> /dev/null | grep -E '^(net|vm|kernel)\.' | sed 's/^/sysctl /' |
  grep -vE 'random|_usage|nr_|ns_last_pid|conntrack_count|neigh\.|tcp_fastopen_key|pty|icmp.*_msgs'
for process in /proc/[0-9]*; do readlink "$process/exe"; done | sort -u | sed 's/^/process /' |
  grep -vE '/(bash|dash|sort|sed|sshd|readlink|systemd[a-z-]*|sudo|awk|mawk|grep)$'
true
"""


@dataclass(frozen=True)
class Stranger:
    """What a machine is."""

    debian: str
    """Its release: `12`."""
    memory: int
    """MiB."""


@dataclass
class Strangers:
    """Machines that run, and how the test itself gets on them: as root, by a key that no lab knows of."""

    lan: Lan
    addresses: Mapping[str, str]
    folder: Path
    machines: Mapping[int, Machine]

    @property
    def place(self) -> tuple[str, ...]:
        """The argv prefix onto their LAN, where `lab` runs as on a user's own host."""
        into = [word for word in self.lan.namespace.enter() if word != "--pid"]
        return tuple(into)

    @property
    def key(self) -> Path:
        return self.folder / "key"

    @property
    def known_hosts(self) -> Path:
        return self.folder / "known_hosts"

    def run(self, name: str, script: str, *, timeout: float = 120, check: bool = True) -> str:
        """What a script prints on a machine, as root."""
        argv = [*self.place, *ssh.argv(self.folder / "root", name, "sh", "-s")]
        done = subprocess.run(
            argv, input=script, capture_output=True, text=True, timeout=timeout, check=False
        )
        assert not check or done.returncode == 0, (
            f"{name}: exit {done.returncode}\n{done.stdout}{done.stderr}"
        )
        return done.stdout

    def snapshot(self) -> dict[str, list[str]]:
        """Everything that could be seen of each machine, sorted lines."""
        return {name: self.run(name, SNAPSHOT).splitlines() for name in self.addresses}

    def stop(self, name: str) -> None:
        """Cut a machine off the LAN: nobody reaches it any more."""
        number = list(self.addresses).index(name)
        self.lan.namespace.ip(f"link set lab-vm{number} down")

    def go_on(self, name: str) -> None:
        number = list(self.addresses).index(name)
        self.lan.namespace.ip(f"link set lab-vm{number} up")

    def config(self, **keys: str) -> str:
        """A lab.yaml of all of them, with further top-level keys as YAML text."""
        lines = ["provider: ssh", f"ssh: {{user: {USER}, key: {self.key}, known_hosts: {self.known_hosts}}}"]
        lines += [f"{key}: {value}" for key, value in keys.items()]
        lines += ["nodes:"]
        lines += [f"  - {{name: {name}, address: {address}}}" for name, address in self.addresses.items()]
        return "\n".join(lines) + "\n"


def fetch(into: Path, root: Path, suite: str) -> None:
    """Fetch Debian packages, with all that they depend on and `root` lacks, as an apt repository.

    Args:
        into: the repository; what strangers have installed is in its folder `ordinary`.
        root: the tar file of their root.
        suite: its suite.
    """
    state = into.parent / "apt"
    state.mkdir()
    env = {**os.environ, **apt.private_state(state, [suite, f"{suite}-updates", f"{suite}-security"])}
    with tarfile.open(root) as tar:
        status = tar.extractfile("./var/lib/dpkg/status")
        assert status is not None
        (state / "status").write_bytes(status.read())
    download = ("install", "-q", "-y", "--download-only", "--no-install-recommends", "--reinstall")
    for words, folder in (
        (("update", "-q"), None),
        ((*download, *ORDINARY), into / "ordinary"),
        ((*download, *OFFERED), into),
    ):
        subprocess.run(["apt-get", *words], env=env, check=True, timeout=300, capture_output=True)
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            for deb in (state / "cache/archives").glob("*.deb"):
                # An epoch's colon comes quoted, which an address would have to quote again.
                deb.rename(folder / deb.name.replace("%3a", "."))
    stanzas = []
    for deb in sorted(into.glob("*.deb")):
        control = subprocess.run(["dpkg-deb", "--field", deb], check=True, capture_output=True, text=True)
        digest = hashlib.sha256(deb.read_bytes()).hexdigest()
        place = f"Filename: ./{deb.name}\nSize: {deb.stat().st_size}\nSHA256: {digest}"
        stanzas.append(f"{control.stdout.rstrip()}\n{place}\n")
    (into / "Packages").write_text("\n".join(stanzas))


def make_root(folder: Path, suite: str) -> Path:
    """A plain root of this suite: the nodes' own recipe with another suite, kept in the store as theirs is.

    Args:
        folder: for the recipe.
        suite: a Debian suite.
    """
    version, name = Config().kubernetes.version, "node-root"
    recipe = paths.share("bundle", name)
    make, said = builder(version), (recipe / "component.yaml").read_text()
    if f"\nsuite: {suite}\n" not in said:
        name = f"{suite}-root"
        shutil.copytree(recipe, folder / name)
        (folder / name / "component.yaml").write_text(re.sub(r"(?m)^suite: .*$", f"suite: {suite}", said))
        make = Builder(Components.load(folder, minor(version)), paths.cache())
    make.ensure([name], Progress(quiet=True))
    return make.built(name).folder / "root.tar"


def make_disk(folder: Path, kernel: Path, release: str) -> Path:
    """The disk that every stranger of a Debian release boots: a plain root, made a stranger's by one boot.

    Args:
        folder: a new one for all of it.
        kernel: the user-mode kernel.
        release: `12`.
    """
    folder.mkdir()
    suite = SUITES[release]
    root = make_root(folder / "recipes", suite)
    debs, disk = folder / "debs", folder / "disk.img"
    fetch(debs, root, suite)
    argv = ["fakeroot", "sh", "-ec", DISK, "sh", *map(str, (folder / "tree", root, debs, disk))]
    path = os.environ["PATH"] + ":/usr/sbin:/sbin"
    subprocess.run(argv, check=True, timeout=120, env={**os.environ, "PATH": path})
    shutil.rmtree(folder / "tree")
    with user_mode.boot_once(kernel, disk, writable=True, memory=1024) as machine:
        # The connection stays open until the machine is off: the key that it came by is gone then.
        machine.run(f"sh -ec {shlex.quote(MAKE_STRANGER)}", timeout=120)
    return disk


@contextmanager
def strangers(folder: Path, wanted: Mapping[str, Stranger]) -> Iterator[Strangers]:
    """Boot machines for as long as the context lasts.

    Args:
        folder: their disks and keys; short, for there are unix sockets in it.
        wanted: each by its name.
    """
    make = builder(Config().kubernetes.version)
    make.ensure(["kernel"], Progress(quiet=True))
    kernel = make.built("kernel").folder / "linux"
    releases = sorted({stranger.debian for stranger in wanted.values()})
    with ThreadPoolExecutor() as pool:
        made = pool.map(lambda release: make_disk(folder / f"debian-{release}", kernel, release), releases)
        disks = dict(zip(releases, made, strict=True))
    key = ssh.make_key(folder / "key")
    root = ssh.make_key(folder / "root-key")
    addresses = {name: str(GATEWAY.ip + 10 + number) for number, name in enumerate(wanted)}
    pins = user_mode.pins(len(wanted))
    machines = {
        number: Machine(
            name=name,
            address=IPv4Interface(f"{addresses[name]}/24"),
            memory=stranger.memory,
            cpus=1,
            pin=pins[number],
            folder=folder / name,
            disk=disks[stranger.debian],
        )
        for number, (name, stranger) in enumerate(wanted.items())
    }
    lan = Lan.make(folder / "machines.json", GATEWAY)
    try:
        lan.start(machines, kernel, root)
        ssh.write_config(folder / "root", hosts=addresses, key=folder / "root-key", sockets=folder)
        there = Strangers(lan, addresses, folder, machines)
        ssh.wait(there.place, folder / "root", list(wanted), timeout=120, running=lan.running)
        for name in wanted:
            there.run(name, f"echo {shlex.quote(key)} > /home/{USER}/.ssh/authorized_keys")
        scan = subprocess.run(
            [*there.place, "ssh-keyscan", *addresses.values()],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        there.known_hosts.write_text(scan.stdout)
        yield there
    finally:
        lan.namespace.destroy()
