"""Node containers: every machine is a systemd container on the host's own kernel, raised by rootful podman.

Faster than user-mode nodes; the proxy modes are those of the host's kernel. The LAN is the same one: a bridge
in a namespace of the lab's own, so nothing of it is on the host's network.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from lab import cgroups, netns, paths, shell, ssh
from lab.config import PROXY_MODES
from lab.errors import LabError
from lab.host import Tool
from lab.host_kernel import HostKernel
from lab.netns import Namespace
from lab.providers import podman_faults
from lab.providers.namespaced import NamespacedProvider
from lab.providers.podman_engine import Engine, runtime
from lab.providers.podman_node import Node

BOOT_TIMEOUT = 60
LEFTOVER_TIMEOUT = 5
#: What the nodes need and the kernel does not load by itself; a node has no modules of its own to load.
MODULES = (
    "overlay",
    "br_netfilter",
    "nf_conntrack",
    "vxlan",
    "dummy",
    "ip_vs",
    "xt_set",
    "ip_set_hash_ipport",
)


class PodmanProvider(NamespacedProvider):
    """Systemd containers on a LAN in a namespace of their own."""

    name = "podman"
    image_parts = ("tree",)
    tools = (
        *netns.TOOLS,
        *ssh.TOOLS,
        Tool("podman", "podman", "runs the nodes"),
        Tool(runtime(), runtime(), "is what podman starts the nodes with on this host"),
    )

    def faults(self) -> list[str]:
        """What this user, this host and its kernel cannot do."""
        if os.geteuid() != 0:
            return [podman_faults.ROOT_NEEDED]
        return [
            *podman_faults.kernel_faults(HostKernel.detect()),
            *podman_faults.link_faults(self.config.network.plugin),
            *podman_faults.place_faults(self.state.dir, paths.cache()),
        ]

    def limits(self, labs: int) -> list[str]:
        """The limits that the nodes share with every other program of root."""
        return podman_faults.limit_faults(len(self.config.nodes), labs) if os.geteuid() == 0 else []

    def proxy_modes(self) -> tuple[str, ...]:
        """The modes that the host's kernel has all they need for."""
        kernel = HostKernel.detect()
        return tuple(mode for mode in PROXY_MODES if not kernel.lacks(mode))

    def up(self, image: Mapping[str, Path]) -> bool:
        """Start the containers that do not run, each on its own disk over the tree."""
        key = ssh.make_key(self.state.ssh_key)
        hosts = {node.name: str(node.address) for node in self.config.nodes}
        sockets = self.state.make_sockets_dir()
        ssh.write_config(self.state.ssh_config, hosts=hosts, key=self.state.ssh_key, sockets=sockets)
        engine = self._orderly_engine()
        containers = engine.containers()
        nodes = self._nodes()
        wanted = [node for node in nodes if node.name not in containers or not containers[node.name].running]
        for node in wanted:
            if node.name in containers:
                engine.podman("rm", "--force", "--time=0", node.name)
        with ThreadPoolExecutor(len(nodes)) as pool:
            list(pool.map(lambda node: node.start(engine, image["tree"], key), wanted))
            if wanted:
                containers = engine.containers()
            list(pool.map(lambda node: node.attach(engine, containers.get(node.name)), nodes))
        ssh.wait(
            self.operator(),
            self.state.ssh_config,
            list(hosts),
            timeout=BOOT_TIMEOUT,
            running=self._running,
        )
        return bool(wanted)

    def down(self) -> None:
        """End the namespaces, and then what the kernel keeps by name."""
        super().down()
        cgroups.clear(self._group)

    def evidence(self, into: Path) -> None:
        """What podman and each node's journal say; it does not need ssh."""
        engine = self._engine()
        if engine is None:
            return
        wanted: dict[str, tuple[str, ...]] = {"podman-ps.txt": ("ps", "--all", "--no-trunc")}
        for node in self.config.nodes:
            wanted[f"{node.name}-console.log"] = ("logs", node.name)
            wanted[f"{node.name}-journal.log"] = (
                "exec",
                node.name,
                "journalctl",
                "--no-pager",
                "--lines=2000",
            )
        for file, words in wanted.items():
            with contextlib.suppress(LabError):
                said = engine.podman(*words, timeout=30, check=False)
                (into / file).write_text(said.stdout + said.stderr)

    @property
    def _group(self) -> str:
        """The lab's control group, named after its folder: a lab of another state folder has another."""
        return f"kube-service-lab-{hashlib.sha256(str(self.state.dir).encode()).hexdigest()[:12]}"

    def _nodes(self) -> list[Node]:
        return [
            Node(
                name=node.name,
                number=number,
                address=self._interface(node.address),
                gateway=self._gateway,
                folder=self.state.nodes_dir / node.name,
                memory=self.config.machine.memory,
                cpus=self.config.machine.cpus,
            )
            for number, node in enumerate(self.config.nodes)
        ]

    def _running(self) -> set[str]:
        engine = self._engine()
        return {one.name for one in engine.containers().values() if one.running} if engine else set()

    def _engine(self) -> Engine | None:
        namespace = Namespace.load(self._record)
        engine = Engine(namespace, self._group) if namespace else None
        return engine if engine and engine.ready() else None

    def _orderly_engine(self) -> Engine:
        """The lab's engine: a new one where there is none, or where a killed command left podman at work."""
        end = time.monotonic() + LEFTOVER_TIMEOUT
        while (engine := self._engine()) and engine.busy() and time.monotonic() < end:
            time.sleep(0.1)
        return engine if engine and not engine.busy() else self._new_engine()

    def _new_engine(self) -> Engine:
        """A new engine in new namespaces; whatever was left of others is ended first."""
        self.down()
        scheduler = f"ip_vs_{self.config.proxy.ipvs_scheduler}"
        for module in HostKernel.detect().loadable((*MODULES, "ip_vs_rr", scheduler)):
            shell.run(["modprobe", module], timeout=20, check=False)
        cgroups.weigh(self._group, len(self.config.nodes) * self.config.machine.cpus)
        namespace = Namespace.create(self._record, user=False)
        namespace.bridge(self._gateway)
        engine = Engine(namespace, self._group)
        engine.start()
        return engine
