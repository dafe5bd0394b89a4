"""What kube-proxy says of its own configuration; known, rules equal the slices in every captured run."""

from __future__ import annotations

import json
from typing import Any

import pytest
from proxy_dumps import objects, outputs

from lab import proxy
from lab.proxy import UnreadableDump
from lab.proxy.compare import compare
from lab.proxy.node import Node
from lab.proxy.settings import Settings, settings
from lab.proxy.slices import expect


def configz(**config: Any) -> str:
    return json.dumps({"kubeproxy.config.k8s.io": config})


def test_as_kube_proxy_before_1_36_spells_it() -> None:
    text = configz(
        DetectLocal={"ClusterCIDRs": ["fd00::/48", "10.244.0.0/16"]},
        DetectLocalMode="ClusterCIDR",
        IPVS={"Scheduler": "wrr"},
        Linux={"MasqueradeAll": True},
        IPTables={"LocalhostNodePorts": False},
        NodePortAddresses=["192.168.1.0/24", "fd00::/8"],
    )
    assert settings(text, None) == Settings(
        pods="10.244.0.0/16",
        scheduler="wrr",
        masquerade_all=True,
        node_port_addresses=("192.168.1.0/24",),
        localhost_node_ports=False,
    )


@pytest.mark.parametrize(
    ("config", "pods"),
    [
        ({}, None),
        ({"clusterCIDR": "10.244.0.0/16"}, "10.244.0.0/16"),
        ({"clusterCIDR": "fd00::/48,10.244.0.0/16", "detectLocalMode": ""}, "10.244.0.0/16"),
        ({"detectLocalMode": "NodeCIDR"}, "10.244.1.0/24"),
        ({"detectLocalMode": "BridgeInterface", "detectLocal": {"bridgeInterface": "cni0"}}, "iifname cni0"),
        (
            {"detectLocalMode": "InterfaceNamePrefix", "detectLocal": {"interfaceNamePrefix": "veth"}},
            "iifname veth*",
        ),
    ],
)
def test_how_pods_are_told(config: dict[str, Any], pods: str | None) -> None:
    assert settings(configz(**config), "10.244.1.0/24").pods == pods


@pytest.mark.parametrize("text", ["", "404 page not found", "[]", '{"a": 1}', '{"a": {}, "b": {}}'])
def test_other_text_is_no_configuration(text: str) -> None:
    with pytest.raises(UnreadableDump):
        settings(text, None)


OPTIONS = [
    (
        "iptables",
        "iptables-options",
        Settings(pods="iifname cni*", masquerade_all=True, localhost_node_ports=False),
    ),
    (
        "iptables",
        "iptables-addresses",
        Settings(pods="iifname cni0", node_port_addresses=("192.168.1.0/24",)),
    ),
    ("nftables", "nftables-options", Settings(pods="iifname cni*", node_port_addresses=("0.0.0.0/0",))),
    ("nftables", "nftables-masquerade-all", Settings(pods="10.244.0.0/16", masquerade_all=True)),
    ("ipvs", "ipvs-mh", Settings(pods="iifname cni0", scheduler="mh")),
    (
        "ipvs",
        "ipvs-masquerade-all",
        Settings(
            pods="10.244.0.0/16",
            masquerade_all=True,
            scheduler="wrr",
            node_port_addresses=("192.168.1.0/24",),
        ),
    ),
]


@pytest.mark.parametrize(("mode", "run", "known"), OPTIONS, ids=[run for _, run, _ in OPTIONS])
def test_rules_equal_the_slices_once_the_options_are_known(mode: str, run: str, known: Settings) -> None:
    texts = outputs(f"rich/{run}")
    node = Node.of(
        "node01",
        texts["ip-addr"],
        address="192.168.1.201",
        pod_cidr=known.pods,
        zone=None if run == "nftables-options" else "z1",  # that run's node had no zone yet
        ports_on=known.node_port_addresses,
        localhost_node_ports=known.localhost_node_ports,
    )
    wanted = expect(
        mode,
        objects("rich", "services"),
        objects("rich", "endpointslices"),
        node,
        scheduler=known.scheduler,
        masquerade_all=known.masquerade_all,
    )
    found = compare(wanted, proxy.read(mode, texts))
    assert not found, "\n".join(
        f"{one.frontend} {one.layer} {one.expected} | {one.seen}" for one in found[:9]
    )
