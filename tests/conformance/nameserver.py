"""A name server of a test's own: CoreDNS, of the nodes' own image; it knows what it is told and no more."""

from __future__ import annotations

from collections.abc import Mapping

from .stage import Manifest, Stage
from .workload import probes

FOLDER = "/etc/coredns"


def start_nameserver(stage: Stage, name: str, records: Mapping[str, str]) -> str:
    """Start it and say its pod, which is Ready once it answers.

    Args:
        stage: where it runs.
        name: what its ConfigMap is called.
        records: name to IPv4 address; the address leads back to the name (PTR).
    """
    hosts = "\n".join(f"        {address} {known}" for known, address in records.items())
    corefile = f".:53 {{\n    errors\n    ready\n    hosts {{\n{hosts}\n    }}\n}}\n"
    stage.apply("v1", "ConfigMap", name, {"data": {"Corefile": corefile}})
    container: Manifest = {
        **stage.cluster.container("coredns"),
        "args": ["-conf", f"{FOLDER}/Corefile"],
        "volumeMounts": [{"name": "config", "mountPath": FOLDER, "readOnly": True}],
        **probes(8181, "/ready"),
    }
    config = {"name": "config", "configMap": {"name": name}}
    return stage.pod({"run": name}, server=False, containers=[container], volumes=[config])
