"""What Ansible is told of a lab: its hosts, how they are reached, and what is to be made of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lab.config import Config
from lab.providers.base import Provider
from lab.state import LabState, write_json

PYTHON_OF_NODES = "/usr/bin/python3"


def hosts(config: Config, state: LabState, provider: Provider) -> dict[str, Any]:
    """The inventory: groups `master` and `nodes`, every host with its address and how ssh gets there."""
    variables = {
        node.name: {
            "ansible_host": str(node.address),
            "node_address": str(node.address),
            **provider.host_vars(node.name),
        }
        for node in config.nodes
    }
    everywhere = {
        "machines_stay": provider.machines_stay,
        "ansible_ssh_common_args": f"-F {state.ssh_config}",
        # Looking for an interpreter costs a task on each node; the node root has this one.
        "ansible_python_interpreter": PYTHON_OF_NODES,
    }
    return {
        "all": {
            "vars": everywhere,
            "children": {
                "master": {"hosts": {config.master.name: variables[config.master.name]}},
                "nodes": {"hosts": {node.name: variables[node.name] for node in config.workers}},
            },
        }
    }


def write(file: Path, config: Config, state: LabState, provider: Provider) -> Path:
    """Write the inventory as JSON, which Ansible reads as YAML."""
    write_json(file, hosts(config, state, provider))
    return file


def extravars(config: Config) -> dict[str, Any]:
    """What the playbooks are to make, as the configuration says; the source adds what it installs."""
    return {
        "kubernetes_version": config.kubernetes.version,
        "pod_cidr": str(config.kubernetes.pod_cidr),
        "service_cidr": str(config.kubernetes.service_cidr),
        "cluster_dns": str(config.kubernetes.cluster_dns),
        "control_plane_address": str(config.master.address),
        "control_plane_timeout": config.kubernetes.control_plane_timeout,
        "settle_timeout": config.kubernetes.settle_timeout,
        # 127.0.0.1 too: the forwarded port is used with the same certificate.
        "api_server_cert_sans": [str(config.master.address), "127.0.0.1", "localhost", config.master.name],
        "network_plugin": config.network.plugin,
        "proxy_mode": config.proxy.mode,
        "ipvs_scheduler": config.proxy.ipvs_scheduler,
    }
