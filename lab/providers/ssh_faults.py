"""What stands in the way on machines that exist: every fault of each, and what they may not share."""

from __future__ import annotations

import shlex
from collections import defaultdict
from collections.abc import Iterator, Mapping

from lab.config import Config, NodeConfig
from lab.providers.ssh_probe import Probe

#: The systems that are documented to work, by os-release's ID: the versions.
SYSTEMS = {"debian": ("12", "13"), "ubuntu": ("22.04", "24.04", "26.04")}
CONTROLLERS = ("cpu", "cpuset", "memory", "pids")
#: TCP ports by who listens there (kubernetes.io, "Ports and Protocols"; kube-proxy's health and metrics).
ON_MASTER = {6443: "kube-apiserver", 2379: "etcd", 2380: "etcd", 10257: "kube-controller-manager"}
ON_MASTER |= {10259: "kube-scheduler"}
ON_ALL = {10250: "kubelet", 10248: "kubelet", 10249: "kube-proxy", 10256: "kube-proxy"}
VXLAN = 8472
MEMORY_OF_MASTER, MEMORY = 1700, 900  # MiB; the first is kubeadm's own limit
DISK = 3072  # MiB: programs and images take 1850, the rest is for what runs
SKEW = 30.0  # seconds; a certificate that was made just now must not lie in a node's future
PYTHON = (3, 8)  # the oldest that ansible-core 2.19 has modules for


def of_machine(config: Config, node: NodeConfig, probe: Probe, *, mine: str, adopt: bool) -> Iterator[str]:
    """The faults of one machine, as it is before anything is touched.

    Args:
        config: the lab as asked for.
        node: the machine.
        probe: what it said.
        mine: the stamp of this lab's machines, empty when it has none yet.
        adopt: whether a Kubernetes that is there may be removed.
    """
    if probe.refusal:
        yield unreachable(node, probe.refusal)
        return
    yield from _access(probe)
    yield from _system(probe)
    yield from _kernel(config, probe)
    yield from _network(config, node, probe)
    yield from _room(config, node, probe)
    if mine and probe.said.get("owner") == mine:
        return  # what else is found there is this lab's own
    yield from _in_the_way(probe)
    there = list(_kubernetes(probe))
    if adopt and there:
        return  # who has the ports goes with it
    yield from _taken(config, node, probe)
    yield from there


def unreachable(node: NodeConfig, refusal: str) -> str:
    """A refusal of ssh, with what mends it."""
    target = node.ssh.host or str(node.address)
    port = f" -p {node.ssh.port}" if node.ssh.port else ""
    if "Host key verification failed" in refusal or "host key is known" in refusal:
        return (
            f"its host key is not known, or not the one that is known: compare it once, by "
            f"`ssh{port} {target}`, or name a file in ssh.known_hosts"
        )
    if "Permission denied" in refusal:
        return f"ssh does not let us in ({refusal}): see ssh.user and ssh.key"
    return f"ssh does not get there: {refusal}"


def of_all(probes: Mapping[str, Probe]) -> Iterator[str]:
    """What machines may not have in common, and what differs between them but may not."""
    for name, what in (("name", "the host name"), ("machine-id", "/etc/machine-id")):
        for value, nodes in _shared(probes, name).items():
            hint = "" if name == "name" else ": clones; `systemd-machine-id-setup` after emptying it"
            yield f"{', '.join(nodes)}: have {what} {value} in common{hint}"
    boots = _shared(probes, "boot-id")
    for nodes in boots.values():
        yield f"{', '.join(nodes)}: are the same machine, or containers on the same kernel"
    clocks = {name: probe.ahead for name, probe in probes.items() if not probe.refusal}
    for name, ahead in clocks.items():
        if abs(ahead) > SKEW:
            way = "ahead of" if ahead > 0 else "behind"
            yield (
                f"{name}: its clock is {abs(ahead):.0f} s {way} this host's: set it "
                "(`timedatectl set-ntp true`)"
            )


def _access(probe: Probe) -> Iterator[str]:
    if probe.lines("user")[1:] != ["0"] and probe.said.get("sudo") != "yes":
        why = probe.said.get("sudo") or "there is no sudo"
        user = (probe.lines("user") or ["the user"])[0]
        yield (
            f"{user} does not become root without a password ({why}): allow it "
            f"(`echo '{user} ALL=(ALL) NOPASSWD:ALL' > /etc/sudoers.d/{user}`), or set ssh.user: root"
        )
    version = probe.said.get("python", "")
    if not version:
        yield "there is no python3, which Ansible needs: apt-get install python3"
    elif tuple(map(int, version.split("."))) < PYTHON:
        yield f"its Python is {version}, Ansible needs {PYTHON[0]}.{PYTHON[1]} or later"


def _system(probe: Probe) -> Iterator[str]:
    system, version = probe.release.get("ID", "unknown"), probe.release.get("VERSION_ID", "")
    if version not in SYSTEMS.get(system, ()):
        known = "; ".join(f"{name.title()} {', '.join(versions)}" for name, versions in SYSTEMS.items())
        called = probe.release.get("PRETTY_NAME") or f"{system} {version}".strip()
        yield f"{called} is not a supported system (there are: {known})"
    if not probe.said.get("apt"):
        yield "there is no apt-get, by which missing packages are installed"
    machine = probe.said.get("machine", "unknown")
    if machine != "x86_64":
        yield f"its processor is {machine}; the programs are built for x86_64"
    if probe.said.get("init") != "systemd":
        yield f"systemd does not run it ({probe.said.get('init') or 'nothing known'} does)"


def _kernel(config: Config, probe: Probe) -> Iterator[str]:
    missing = [name for name in CONTROLLERS if name not in probe.said.get("controllers", "").split()]
    if missing:
        yield f"control groups without {', '.join(missing)}, which kubelet needs"
    kernel = probe.kernel
    if lacks := kernel.lacks(config.proxy.mode):
        yield (
            f"its kernel {kernel.release} lacks what {config.proxy.mode} mode needs: {', '.join(lacks)} "
            "(Debian's cloud kernel leaves much out: install linux-image-amd64)"
        )
    wanted = [("OVERLAY_FS", "overlay"), ("BRIDGE_NETFILTER", "br_netfilter"), ("BRIDGE", "bridge")]
    wanted += [("VETH", "veth"), *([("VXLAN", "vxlan")] if config.network.plugin == "flannel" else [])]
    absent = [option for option, module in wanted if kernel.has(option, module) is False]
    if absent:
        yield f"its kernel {kernel.release} lacks {', '.join(absent)}"


def _network(config: Config, node: NodeConfig, probe: Probe) -> Iterator[str]:
    there = probe.addresses
    if node.address not in [one.ip for one in there]:
        listed = ", ".join(str(one.ip) for one in there) or "none"
        yield (
            f"{node.address} is on none of its interfaces (there: {listed}): `address` is where other nodes "
            "reach it, `ssh.host` where you do"
        )
    for key in ("pod_cidr", "service_cidr"):
        ours = getattr(config.kubernetes, key)
        for one in there:
            if one.network.overlaps(ours) and not probe.said.get("owner"):
                yield f"its network {one.network} overlaps kubernetes.{key} {ours}"
    for unit in probe.lines("firewalls"):
        yield f"{unit} is active, and drops what nodes say to each other: systemctl disable --now {unit}"


def _room(config: Config, node: NodeConfig, probe: Probe) -> Iterator[str]:
    if probe.lines("swap"):
        devices = [line.split()[0] for line in probe.lines("swap")]
        yield (
            f"swap is on ({', '.join(devices)}), which kubelet refuses by default: swapoff -a, and its line "
            "out of /etc/fstab"
        )
    memory = probe.number("memory") >> 10
    wanted = MEMORY_OF_MASTER if node == config.master else MEMORY
    if memory < wanted:
        yield f"{memory} MiB of memory, {wanted} are needed"
    row = (probe.lines("disk") or [""])[-1].split()
    if len(row) > 3 and row[3].isdigit():
        free = int(row[3]) >> 10
        if free < DISK and not probe.said.get("owner"):
            yield f"{free} MiB free for /var/lib, {DISK} are needed"


def _taken(config: Config, node: NodeConfig, probe: Probe) -> Iterator[str]:
    ports = {**ON_ALL, **(ON_MASTER if node == config.master else {})}
    for port, who in ports.items():
        if port in probe.listening:
            yield f"port {port} is in use, which {who} needs"
    if config.network.plugin == "flannel" and VXLAN in probe.datagrams:
        yield f"UDP port {VXLAN} is in use, which flannel needs"


def _in_the_way(probe: Probe) -> Iterator[str]:
    if servers := probe.number("ipvs"):
        yield f"ip_vs has {servers} virtual servers, which kube-proxy would take for its own: ipvsadm --clear"
    for unit in probe.lines("runtimes"):
        yield f"{unit} is installed; it and this lab's own containerd would be in each other's way: remove it"


def _kubernetes(probe: Probe) -> Iterator[str]:
    owner = probe.said.get("owner", "")
    if owner:
        yield f"it belongs to another lab ({owner.split()[0]}): `lab down` there gives it back; or --adopt"
        return
    found = [*probe.lines("kubernetes"), *probe.lines("programs")]
    if found:
        yield (
            f"there is a Kubernetes already ({shlex.join(found)}): it is left alone, unless you say --adopt, "
            "and then it is removed for good"
        )


def _shared(probes: Mapping[str, Probe], name: str) -> dict[str, list[str]]:
    """The answers that several machines gave, each with their names."""
    seen: dict[str, list[str]] = defaultdict(list)
    for node, probe in probes.items():
        if value := probe.said.get(name):
            seen[value].append(node)
    return {value: nodes for value, nodes in seen.items() if len(nodes) > 1}
