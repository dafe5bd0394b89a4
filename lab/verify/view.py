"""One look at a cluster: what its API says should be, and what each node has programmed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from lab import proxy, shell
from lab.errors import InputError, LabError
from lab.proxy import commands
from lab.proxy.endpoints import Object
from lab.proxy.node import Node
from lab.proxy.settings import Settings, settings
from lab.proxy.slices import expect
from lab.reach.base import Reach

LOOK = 60.0
"""Seconds for one node's dumps."""
ZONE = "topology.kubernetes.io/zone"


@dataclass(frozen=True)
class Objects:
    """The API's objects, as `kubectl get -o json` gives its items."""

    services: Sequence[Object]
    slices: Sequence[Object]
    nodes: Mapping[str, Object]

    @classmethod
    def read(cls, reach: Reach) -> Objects:
        """All of the cluster's.

        Raises:
            BringUpError: the API does not answer.
        """
        paths = ("/api/v1/services", "/apis/discovery.k8s.io/v1/endpointslices", "/api/v1/nodes")
        with ThreadPoolExecutor(len(paths)) as pool:
            services, slices, nodes = pool.map(reach.items, paths)
        return cls(services, slices, {node["metadata"]["name"]: node for node in nodes})

    def same_rules(self, other: Objects | None) -> bool:
        """Whether kube-proxy would program the same for both; nodes' heartbeats change all the time."""
        return other is not None and (self.services, self.slices) == (other.services, other.slices)


@dataclass(frozen=True)
class View:
    """One node as it was found.

    Attributes:
        outputs: text by name of the dump (`lab.proxy.commands`); iptables' rules have their counters.
    """

    node: Node
    mode: str
    settings: Settings
    outputs: Mapping[str, str]

    @cached_property
    def rules(self) -> proxy.NodeRules:
        """What is programmed.

        Raises:
            UnrecognisedRule: there is a rule that is not known.
        """
        return proxy.read(self.mode, self.outputs)

    def expected(self, objects: Objects) -> proxy.NodeRules:
        """What should be."""
        return expect(
            self.mode,
            objects.services,
            objects.slices,
            self.node,
            scheduler=self.settings.scheduler,
            masquerade_all=self.settings.masquerade_all,
        )


def look(reach: Reach, objects: Objects, *, only: Iterable[str] | None = None) -> dict[str, View]:
    """Every node (or these), all at once.

    Raises:
        LabError: nodes could not be looked at; names each with the reason.
        InputError: kube-proxy does not serve there, or in a mode that is not known.
    """
    views: dict[str, View] = {}
    silent: list[str] = []
    strange: list[str] = []
    for name, said in reach.run(commands.look(), timeout=LOOK, only=only).items():
        if not said.ok:
            silent.append(f"{name}: {(shell.tail(said.stderr, 1) or ['no answer'])[0]}")
            continue
        outputs = commands.split(said.stdout)
        mode = outputs.get("proxy-mode", "").strip()
        try:
            known = mode in proxy.READERS
            views |= {name: _view(name, mode, outputs, objects.nodes.get(name) or {})} if known else {}
        except proxy.UnreadableDump as error:
            silent.append(f"{name}: {error.what}")
            continue
        if not known:
            strange.append(f"{name}: {mode or 'no answer on 127.0.0.1:10249'}")
    if silent:
        raise LabError("Nodes could not be looked at.", details=silent)
    if strange:
        raise InputError(
            "There is no kube-proxy that says by which mode it serves.",
            details=strange,
            fix="this needs kube-proxy 1.34 or later in iptables, ipvs or nftables mode",
        )
    return views


def _view(name: str, mode: str, outputs: Mapping[str, str], node: Mapping[str, Any]) -> View:
    spec, labels = node.get("spec") or {}, (node.get("metadata") or {}).get("labels") or {}
    of_node = settings(outputs.get("configz", ""), spec.get("podCIDR"))
    addresses = [
        one["address"]
        for one in (node.get("status") or {}).get("addresses") or ()
        if one["type"] == "InternalIP" and ":" not in one["address"]
    ]
    described = Node.of(
        name,
        outputs["ip-addr"],
        address=addresses[0] if addresses else "",
        pod_cidr=of_node.pods,
        zone=labels.get(ZONE),
        ports_on=of_node.node_port_addresses,
        localhost_node_ports=of_node.localhost_node_ports,
    )
    return View(described, mode, of_node, outputs)
