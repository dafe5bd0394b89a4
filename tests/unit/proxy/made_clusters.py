"""Any Services and endpoints, for round trips and walks."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from rendered import ADDRESSES

from lab.proxy.slices import Node

Json = dict[str, Any]
NODE = Node(name="node01", address="192.168.1.201", addresses=ADDRESSES, pod_cidr="10.244.0.0/16")
NODES = ("master", "node01", "node02")

names = st.from_regex(r"[a-z]([a-z0-9-]{0,10}[a-z0-9])?", fullmatch=True)
endpoints = st.lists(st.tuples(st.integers(0, 2), st.integers(2, 250)), unique=True, max_size=12)


@st.composite
def clusters(draw: st.DrawFn) -> tuple[list[Json], list[Json]]:
    """Services with ClusterIPs and NodePorts, and their slices."""
    services: list[Json] = []
    slices: list[Json] = []
    for number, name in enumerate(draw(st.lists(names, unique=True, min_size=1, max_size=4))):
        ports, ends = [], []
        for place, protocol in enumerate(
            draw(st.lists(st.sampled_from(["TCP", "UDP", "SCTP"]), min_size=1, max_size=3))
        ):
            port: Json = {"name": f"p{place}", "port": 80 + place, "protocol": protocol}
            if draw(st.booleans()):
                port["nodePort"] = 30000 + 10 * number + place
            ports.append(port)
            ends.append({"name": f"p{place}", "port": draw(st.integers(1, 65535)), "protocol": protocol})
        spec: Json = {"type": "NodePort", "clusterIPs": [f"10.96.{number}.1"], "ports": ports}
        if draw(st.booleans()):
            spec["sessionAffinity"] = "ClientIP"
            spec["sessionAffinityConfig"] = {"clientIP": {"timeoutSeconds": draw(st.integers(1, 86400))}}
        metadata: Json = {"name": name, "namespace": draw(names)}
        services.append({"metadata": metadata, "spec": spec})
        found = [
            {"addresses": [f"10.244.{node}.{host}"], "nodeName": NODES[node], "conditions": {"ready": True}}
            for node, host in draw(endpoints)
        ]
        labels: Json = {"kubernetes.io/service-name": name}
        slices.append(
            {
                "metadata": {**metadata, "labels": labels},
                "addressType": "IPv4",
                "ports": ends,
                "endpoints": found,
            }
        )
    return services, slices
