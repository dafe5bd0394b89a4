"""`lab status`: what a lab's machines and nodes are doing."""

from __future__ import annotations

from typing import Any

from lab.cli import options
from lab.errors import LabError
from lab.progress import result, result_json, result_table
from lab.state import read_json


def command(
    *,
    name: options.Name = None,
    output: options.OutputOption = options.Output.TEXT,
    verbose: options.Verbose = False,
) -> None:
    """Show a lab: its machines, whether Kubernetes calls them Ready, and the proxy mode each one is in."""
    lab = options.living(name)
    found = look(lab)
    if output is options.Output.JSON:
        result_json(found)
        return
    result(f"lab {found['name']}: provider {found['provider']}, {found['proxy_mode']} mode")
    result("")
    columns = ("name", "address", "machine", "kubernetes", "version", "proxy_mode")
    result_table(columns, [[str(node[column] or "") for column in columns] for node in found["nodes"]])
    result("")
    result(f"kubeconfig: {found['kubeconfig'] or 'none yet: run lab up'}")
    for port, here in found["ports"].items():
        result(f"127.0.0.1:{here} leads to {'the API server' if port == 'api' else f'NodePort {port}'}")
    if verbose:
        for problem in found["problems"]:
            result(f"problem: {problem}")


def look(lab: options.Living) -> dict[str, Any]:
    """All that is known of a lab, for a program; what nobody answers is None, and `problems` says why."""
    from lab import nodes  # noqa: PLC0415
    from lab.cluster import Cluster  # noqa: PLC0415 -- brings the API's client, which takes a moment to load

    problems: list[str] = []
    machines = lab.provider.status()
    running = "running" in machines.values()
    api: dict[str, Any] = {}
    modes: dict[str, str] = {}
    if running:
        try:
            api = dict(Cluster(lab.state).nodes())
        except LabError as error:
            problems.append(str(error))
        try:
            modes = nodes.effective_modes(lab.config, lab.state, lab.provider)
        except LabError as error:
            problems.append(str(error))
    return {
        "name": lab.state.name,
        "provider": lab.config.provider,
        "kubernetes_version": lab.config.kubernetes.version,
        "proxy_mode": lab.config.proxy.mode,
        "nodes": [
            {
                "name": node.name,
                "address": str(node.address),
                "machine": machines.get(node.name, "absent"),
                "kubernetes": None
                if node.name not in api
                else "Ready"
                if api[node.name].ready
                else "NotReady",
                "version": api[node.name].version if node.name in api else None,
                "proxy_mode": modes.get(node.name),
            }
            for node in lab.config.nodes
        ],
        "kubeconfig": str(lab.state.kubeconfig) if lab.state.kubeconfig.is_file() else None,
        "ports": read_json(lab.state.ports_file) or {},
        "folder": str(lab.state.dir),
        "problems": problems,
    }
