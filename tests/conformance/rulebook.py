"""What the nodes have programmed, held against what the API says should be."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from lightkube.resources.core_v1 import Service
from lightkube.resources.discovery_v1 import EndpointSlice

from lab import proxy
from lab.config import Config
from lab.proxy.compare import compare
from lab.proxy.residue import residue
from lab.proxy.slices import Node as NodeView
from lab.proxy.slices import expect

from .cluster import Cluster
from .nodes import Node, on_each
from .waiting import PROGRAMMED, wait_until

Dumps = Mapping[str, str]


def dumps(nodes: Iterable[Node]) -> dict[str, Dumps]:
    """Every node's rules as text, all nodes at once: node to name of the dump to its text."""
    script = proxy.script()
    return on_each(nodes, lambda node: proxy.split(node.run(script)))


def read(nodes: Iterable[Node], mode: str) -> dict[str, proxy.NodeRules]:
    """Every node's rules in one model."""
    return {name: proxy.read(mode, texts) for name, texts in dumps(nodes).items()}


@dataclass(frozen=True)
class Rulebook:
    """Compares all nodes with the API."""

    cluster: Cluster
    config: Config
    nodes: tuple[Node, ...]
    mode: str

    def wanted(self, node: Node, texts: Dumps) -> proxy.NodeRules:
        """What this node should have programmed, from Services and EndpointSlices."""
        pod_cidr = str(self.config.kubernetes.pod_cidr)
        view = NodeView.of(node.name, texts["ip-addr"], address=node.address, pod_cidr=pod_cidr)
        return expect(
            self.mode,
            self.objects(Service),
            self.objects(EndpointSlice),
            view,
            scheduler=self.config.proxy.ipvs_scheduler,
        )

    def objects(self, kind: type[Any]) -> list[dict[str, Any]]:
        """All objects of a kind, as `kubectl get -o json` gives its items."""
        return [item.to_dict() for item in self.cluster.api.list(kind, namespace="*")]

    def disagreements(self) -> list[str]:
        """Where a node's rules and the API differ, and what other modes left behind; each names the node."""
        found = []
        seen = dumps(self.nodes)
        for node in self.nodes:
            texts = seen[node.name]
            rules = proxy.read(self.mode, texts)
            found += [str(fault) for fault in compare(self.wanted(node, texts), rules, node=node.name)]
            found += [f"{node.name}: {left}" for left in residue(self.mode, texts)]
        return found

    def settle(self) -> None:
        """Wait until every node's rules are what the API says.

        Raises:
            AssertionError: some still differ after the seconds of `PROGRAMMED`: which, on which node.
        """

        def agree() -> bool:
            found = self.disagreements()
            assert not found, "\n".join(["", *found])
            return True

        wait_until(
            f"the {self.mode} rules of every node to equal the EndpointSlices",
            agree,
            timeout=PROGRAMMED[self.mode],
        )
