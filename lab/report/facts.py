"""What was tested: the versions that each node has, as it says itself, and of the suites."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from typing import Any

import lab
from lab import nodes, paths
from lab.config import Config
from lab.providers.base import Provider
from lab.reach.base import Reach
from lab.reach.survey import Survey
from lab.state import LabState

ASK = {
    "kernel": "uname -r",
    "os": ". $NODE/etc/os-release && echo $PRETTY_NAME",
    "kubelet": "kubelet --version",
    "containerd": "containerd --version",
    "nft": "nft --version",
    "iptables": "iptables --version",
    "ipvsadm": "ipvsadm --version",
    "ipset": "ipset --version",
    "cni": "ls $NODE/etc/cni/net.d",
    # Run without a command, a plugin of the CNI says its version, and that as an error.
    "cni plugins": "{ test -x $NODE/opt/cni/bin/bridge && $NODE/opt/cni/bin/bridge </dev/null 2>&1; }",
    "pod network": "ctr -n k8s.io images list -q | grep flannel | sed 's,.*/,,'",
}
"""A fact to the shell command that prints it on a node, in one line; `$NODE` is where a node's files are."""


def of_node(said: str) -> dict[str, str]:
    """The facts that `script` printed; one that a node does not know is left out."""
    pairs = (line.partition("=") for line in said.splitlines())
    return {name: value.strip() for name, _, value in pairs if name in ASK and value.strip()}


def script() -> str:
    """A shell script that prints every fact as `name=value`."""
    return "\n".join(f'echo "{name}=$({command} 2>/dev/null | head -n 1)"' for name, command in ASK.items())


def gather(config: Config, state: LabState, provider: Provider, *, arguments: list[str]) -> dict[str, Any]:
    """Everything that begins `results.jsonl`; a node that does not answer has no versions."""
    told = nodes.run(config, state, provider, script(), timeout=30)
    return {
        "suite": suite(),
        "arguments": arguments,
        "cluster": {
            "name": state.name,
            "provider": config.provider,
            "kubernetes": config.kubernetes.version,
            "network": config.network.plugin,
            "nodes": [
                {
                    "name": node.name,
                    "address": str(node.address),
                    "control_plane": node.name == config.master.name,
                    "versions": of_node(told[node.name].stdout),
                }
                for node in config.nodes
            ],
        },
    }


def gather_any(reach: Reach, found: Survey, kubeconfig: Path, *, arguments: list[str]) -> dict[str, Any]:
    """The same of a cluster that no lab made; its API knows some versions that a pod on a node cannot see."""
    told = reach.run(script(), timeout=30)
    return {
        "suite": suite(),
        "arguments": arguments,
        "cluster": {
            "name": found.name,
            "provider": "none (not made by a lab)",
            "kubeconfig": str(kubeconfig),
            "kubernetes": found.kubernetes,
            "network": "not known",
            "nodes": [
                {
                    "name": node.name,
                    "address": node.address,
                    "control_plane": node.control_plane,
                    "versions": of_node(told[node.name].stdout) | node.versions,
                }
                for node in found.nodes
            ],
        },
    }


def suite() -> dict[str, str]:
    """The suites' version, and a digest that tells changed suites apart."""
    digest = hashlib.sha256()
    for file in sorted(paths.share("tests", "conformance").glob("*.py")):
        digest.update(file.read_bytes())
    python = ".".join(map(str, sys.version_info[:3]))
    return {"version": lab.__version__, "digest": digest.hexdigest()[:12], "python": python}
