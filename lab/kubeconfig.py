"""The kubeconfigs of a lab: the cluster's own, as seen from the lab's LAN, and one for this host's tools."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from lab.errors import BringUpError
from lab.state import LabState, write_text


def fetched(state: LabState) -> Path:
    """The folder that the playbooks fetch the cluster's kubeconfig into, and keep its bootstrap token in."""
    return state.dir / "fetched"


def write(state: LabState, ports: dict[str, int]) -> None:
    """Write both kubeconfigs, readable by this user only, from the one the playbooks fetched.

    Args:
        state: the lab's folder.
        ports: forwarded ports of 127.0.0.1; without `api` this host reaches the API server itself.

    Raises:
        BringUpError: the playbooks fetched none.
    """
    source = fetched(state) / "admin.conf"
    if not source.is_file():
        raise BringUpError(
            "The control plane gave no kubeconfig.", details=[f"there is no {source}"], fix="lab up"
        )
    values = yaml.safe_load(source.read_text())
    context = context_name(state)
    _write(state.kubeconfig_inside, values, context, None)
    server = f"https://127.0.0.1:{ports['api']}" if "api" in ports else None
    _write(state.kubeconfig, values, context, server)


def context_name(state: LabState) -> str:
    """The name of the context, cluster and user: unlike any other's when the file is merged."""
    return f"kube-service-lab-{state.name}"


def _write(file: Path, values: dict[str, Any], name: str, server: str | None) -> None:
    cluster = dict(values["clusters"][0]["cluster"])
    if server is not None:
        cluster["server"] = server
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": cluster}],
        "users": [{"name": name, "user": values["users"][0]["user"]}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        "current-context": name,
    }
    write_text(file, yaml.safe_dump(content, sort_keys=False), mode=0o600)
