"""How long `lab verify` takes to read and reconcile three nodes: rendered dumps of so many Services.

The dumps are written by the renderers of the unit tests, in the form of the nodes' own commands, with ten
endpoints a Service; what is timed is what `lab verify` does with them on this host: the API's JSON, every
node's dump into the model, and the comparison. Getting them (ssh or kubectl exec) is not in it.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent / "tests/unit/proxy"))

from rendered import ADDRESSES, iptables, ipvs
from rendered_nft import nftables

from lab.proxy.settings import Settings
from lab.proxy.slices import Node, expect
from lab.verify.reconcile import everywhere
from lab.verify.view import Objects, View

ENDPOINTS = 10
RENDERERS = {"iptables": iptables, "ipvs": ipvs, "nftables": nftables}
NODES = ("master", "node01", "node02")


def main(sizes: list[int]) -> None:
    """Time every mode at every size."""
    print(f"{'mode':<10}{'services':>9}{'dump MiB':>10}{'seconds':>9}{'CPU s':>8}{'CPU ms/Service':>16}")
    for mode in RENDERERS:
        for size in sizes:
            seconds, busy, dumped = timed(mode, size)
            row = f"{mode:<10}{size:>9}{dumped / 2**20:>10.1f}{seconds:>9.2f}"
            print(f"{row}{busy:>8.2f}{1000 * busy / size:>16.2f}", flush=True)


def timed(mode: str, size: int) -> tuple[float, float, int]:
    """Seconds and processor seconds for three nodes, and how long their dumps are together."""
    services, slices = cluster(size)
    services_text, slices_text = (json.dumps({"items": items}) for items in (services, slices))
    nodes = [
        Node(name=name, address="192.168.1.201", addresses=ADDRESSES, pod_cidr="10.244.0.0/16")
        for name in NODES
    ]
    empty = {"iptables-save": "", "nft": "", "ipvsadm": "", "ipset": ""}
    dumps = [empty | RENDERERS[mode](expect(mode, services, slices, node)) for node in nodes]
    begun, busy = time.perf_counter(), time.process_time()
    objects = Objects(json.loads(services_text)["items"], json.loads(slices_text)["items"], {})
    views = [
        View(node, mode, Settings(pods=node.pod_cidr), outputs)
        for node, outputs in zip(nodes, dumps, strict=True)
    ]
    found = everywhere(views, objects)
    assert not found, found[0]
    dumped = sum(len(text) for dump in dumps for text in dump.values())
    return time.perf_counter() - begun, time.process_time() - busy, dumped


def cluster(size: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Services of one port with a NodePort each, and their slices."""
    services, slices = [], []
    for number in range(size):
        name = f"svc-{number}"
        port = {"name": "http", "port": 80, "protocol": "TCP", "nodePort": 1 + number}
        metadata = {"name": name, "namespace": "bench"}
        ip = f"10.{96 + number // 60_000}.{number // 250}.{number % 250 + 1}"
        services.append(
            {"metadata": metadata, "spec": {"type": "NodePort", "clusterIPs": [ip], "ports": [port]}}
        )
        endpoints = [
            {
                "addresses": [f"10.244.{place % 3}.{(number * ENDPOINTS + place) % 250 + 2}"],
                "nodeName": NODES[place % 3],
                "conditions": {"ready": True},
            }
            for place in range(ENDPOINTS)
        ]
        slices.append(
            {
                "metadata": metadata | {"labels": {"kubernetes.io/service-name": name}},
                "addressType": "IPv4",
                "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
                "endpoints": endpoints,
            }
        )
    return services, slices


if __name__ == "__main__":
    main([int(word) for word in sys.argv[1:]] or [1000, 2000, 5000])
