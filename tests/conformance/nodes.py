"""The nodes as the suites reach them: by an ssh connection each, kept open, or a pod that stands for each."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import testinfra

from .shell import SHELLS
from .together import at_once

T = TypeVar("T")
MARK = "--8<-- kube-service-lab"
SLACK = 15
"""Seconds that a script's way there and back may take, besides the script."""


@dataclass(frozen=True)
class Node:
    """One machine of the cluster.

    >>> node.run("uname -r")
    '7.2.12'
    """

    name: str
    address: str
    host: Any
    """testinfra's host, on the ssh or the kubectl backend."""
    way: tuple[str, ...] = ()
    """What the command line of a shell's script there begins with, here."""
    prepare: str = ""
    """What every script begins with."""

    @classmethod
    def over_ssh(cls, name: str, address: str, ssh_config: Path, *, sudo: bool = False) -> Node:
        """The node as the lab's own ssh configuration reaches it; `sudo` where that is not as root."""
        host = testinfra.get_host(f"ssh://{name}", ssh_config=str(ssh_config), sudo=sudo)
        way = ("ssh", "-F", str(ssh_config), name, *(["sudo"] if sudo else []))
        return cls(name, address, host, way)

    @classmethod
    def in_pod(
        cls, name: str, address: str, *, pod: str, namespace: str, container: str, prepare: str
    ) -> Node:
        """The node as a privileged pod in its network sees it; testinfra finds kubectl by the environment.

        Args:
            name: the node's.
            address: its InternalIP.
            pod: the pod on it.
            namespace: the pod's.
            container: the pod's.
            prepare: what a script begins with there, to find the node's own programs.
        """
        host = testinfra.get_host(f"kubectl://{pod}", namespace=namespace, container=container)
        where = (f"--namespace={namespace}", pod, f"--container={container}")
        return cls(name, address, host, ("kubectl", "exec", "--stdin", *where, "--", "sh", "-c"), prepare)

    def argv(self, *words: str) -> list[str]:
        """The command line, here, that runs a program on this node with this side's input and output."""
        return [*self.way, f"{self.prepare}\nexec {shlex.join(words)}" if self.prepare else shlex.join(words)]

    def run(self, script: str, *, timeout: float = 30, check: bool = True) -> str:
        """What a shell script printed on this node.

        Programs are slow to start on a user-mode node: put many readings in one script.

        Args:
            script: for /bin/sh.
            timeout: seconds after which the node ends the script.
            check: whether an exit status other than 0 is a failure.
        """
        command = f"timeout -k 2 {timeout:g} sh -c {shlex.quote(script)}"
        result = SHELLS.run(self.argv("sh"), command, timeout=timeout + SLACK)
        if check and result.status != 0:
            ended = (
                f"ended after {timeout:g} s"
                if result.status in (124, 137)
                else f"exit status {result.status}"
            )
            raise AssertionError(f"{self.name}: {ended}: {script}\n{result.out}{result.err}")
        return result.out

    def run_all(self, scripts: Mapping[str, str], *, timeout: float = 30) -> dict[str, str]:
        """Several readings in one round trip: label to what its script printed, its errors with it."""
        joined = "\n".join(f"echo {MARK!r}; {{ {script}\n}} 2>&1" for script in scripts.values())
        _, *outputs = self.run(joined + "\ntrue", timeout=timeout).split(f"{MARK}\n")
        return dict(zip(scripts, outputs, strict=True))


def on_each(nodes: Iterable[Node], work: Callable[[Node], T]) -> dict[str, T]:
    """Do the same on all nodes at once: node name to result. A failure is raised once all have ended."""
    return at_once({node.name: node for node in nodes}, work)
