"""What the nodes have programmed, held against what the API says should be."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from lightkube.resources.core_v1 import Service
from lightkube.resources.discovery_v1 import EndpointSlice

from lab import proxy
from lab.proxy.compare import Difference, compare
from lab.proxy.residue import residue
from lab.proxy.slices import Node as NodeView
from lab.proxy.slices import expect

from .cluster import Cluster
from .nodes import Node, on_each
from .subject import Subject
from .waiting import PROGRAMMED, wait_until

Dumps = Mapping[str, str]
Objects = tuple[list[dict[str, Any]], list[dict[str, Any]]]
"""Services and EndpointSlices."""
SETTLED = 120.0
"""Seconds in which the API must come to rest and the rules with it: pods may be starting meanwhile."""
PAUSE = 0.6
"""Seconds between two readings: kube-proxy programs a change once a second at most."""


def dumps(nodes: Iterable[Node], names: Iterable[str] = proxy.COMMANDS) -> dict[str, Dumps]:
    """Every node's rules as text, all nodes at once: node to name of the dump to its text."""
    script = proxy.script(names)
    return on_each(nodes, lambda node: proxy.split(node.run(script)))


def read(nodes: Iterable[Node], mode: str) -> dict[str, proxy.NodeRules]:
    """Every node's rules in one model."""
    return {name: proxy.read(mode, texts) for name, texts in dumps(nodes).items()}


@dataclass(frozen=True)
class Rulebook:
    """Compares all nodes with the API."""

    cluster: Cluster
    subject: Subject
    nodes: tuple[Node, ...]
    mode: str

    def objects(self) -> Objects:
        """All Services and EndpointSlices, as `kubectl get -o json` gives its items."""
        return self._items(Service), self._items(EndpointSlice)

    def _items(self, kind: type[Any]) -> list[dict[str, Any]]:
        return [item.to_dict() for item in self.cluster.api.list(kind, namespace="*")]

    def disagreements(self, objects: Objects, nodes: tuple[Node, ...]) -> list[Difference]:
        """Where the rules of these nodes and the API differ."""
        found: list[Difference] = []
        # No more than the mode's own dumps: this is asked many times, and others tell nothing of it.
        seen = dumps(nodes, proxy.READERS[self.mode].needs)
        for node in nodes:
            texts = seen[node.name]
            machine = self.subject.machine(node.name)
            told = machine.settings
            view = NodeView.of(
                node.name,
                texts["ip-addr"],
                address=node.address,
                pod_cidr=told.pods,
                zone=machine.zone,
                ports_on=told.node_port_addresses,
                localhost_node_ports=told.localhost_node_ports,
            )
            wanted = expect(
                self.mode, *objects, view, scheduler=told.scheduler, masquerade_all=told.masquerade_all
            )
            found += compare(wanted, proxy.read(self.mode, texts), node=node.name)
        return found

    def residue(self) -> list[str]:
        """What other modes left on a node; each names the node."""
        seen = dumps(self.nodes)
        return [f"{name}: {left}" for name, texts in seen.items() for left in residue(self.mode, texts)]

    def settle(self) -> None:
        """Wait until every node's rules are what the API says now.

        Other tests go on changing it meanwhile: what agreed in one reading is settled, and only what has not
        yet is waited for. A node where all is settled is not read again: reading takes the processor that
        kube-proxy needs.

        Raises:
            AssertionError: some still differ `PROGRAMMED` seconds after the API's last change: which, where;
                or the API went on changing.
        """
        known: Objects | None = None
        changed, behind = 0.0, self.nodes
        pending: set[tuple[object, ...]] | None = None

        def agree() -> bool:
            nonlocal known, changed, behind, pending
            objects = self.objects()
            if objects != known:
                known, changed = objects, time.monotonic()
            late = time.monotonic() - changed > PROGRAMMED[self.mode]
            faults = self.disagreements(objects, behind)
            # A dump that failed is empty, and shows nothing that should be gone.
            if pending is None or any(fault.layer == "faults" for fault in faults):
                pending = (pending or set()) | {fault.about for fault in faults}
            else:
                pending &= {fault.about for fault in faults}
            found = [fault for fault in faults if fault.about in pending]
            behind = tuple(node for node in behind if node.name in {fault.node for fault in found})
            told = "".join(f"\n{fault}" for fault in found)
            if found and late:
                pytest.fail(
                    f"{PROGRAMMED[self.mode]:g} s after the last change of Services and EndpointSlices the "
                    f"{self.mode} rules still differ:{told}"
                )
            assert not found, told
            return True

        what = f"the {self.mode} rules of every node to equal the EndpointSlices"
        wait_until(what, agree, timeout=SETTLED, interval=PAUSE)
