"""Captured dumps: what kube-proxy 1.37.2 really programmed, and the objects it was given.

`rich/` and `switched/` were taken on one node (node01), with hand-made Services and EndpointSlices that
between them use everything kube-proxy knows. Each folder in them is one run of kube-proxy with the options
its name says, a file a command of `lab.proxy.COMMANDS`; a file that is not there is an empty output.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lab.proxy import COMMANDS
from lab.proxy.model import NodeRules
from lab.proxy.slices import Node, expect

FOLDER = Path(__file__).parent / "dumps"
POD_CIDR = "10.244.0.0/16"


def outputs(run: str) -> dict[str, str]:
    """The dumps of one run, `rich/iptables` say."""
    texts = {name: FOLDER / run / name for name in COMMANDS}
    return {name: path.read_text() if path.exists() else "" for name, path in texts.items()}


def objects(cluster: str, kind: str) -> dict[str, Any]:
    """A list object of a cluster: its `services` or `endpointslices`."""
    found: dict[str, Any] = json.loads((FOLDER / cluster / f"{kind}.json").read_text())
    return found


def expected(mode: str, run: str, *, scheduler: str = "rr") -> NodeRules:
    """What node01 should have programmed in a run, from its cluster's objects."""
    cluster = run.partition("/")[0]
    address = outputs(run)["ip-addr"]
    node = Node.of("node01", address, address="192.168.1.201", pod_cidr=POD_CIDR, zone="z1")
    services, slices = objects(cluster, "services"), objects(cluster, "endpointslices")
    return expect(mode, services, slices, node, scheduler=scheduler, service_cidrs=["10.96.0.0/12"])
