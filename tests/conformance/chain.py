"""The rules behind a failure: what each node had programmed for the Services that the test was about."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import pytest

from lab import proxy
from lab.errors import LabError

from .nodes import Node
from .rulebook import Dumps, dumps
from .workload import Exposed

MOST = 10
"""Failures of a session that are shown with their rules: where more fail, the rules are in the evidence."""
ADDRESS = re.compile(r"\b(\d+\.\d+\.\d+\.\d+):(\d+)\b")
told = pytest.StashKey[int]()

Place = tuple[str, int]
"""An address and port that clients connect to; an empty address stands for any of the node's."""


def sections(item: pytest.Function, said: str) -> list[tuple[str, str]]:
    """For each node the title and the text of its rules; empty where no Service is involved.

    Never raises: what keeps the rules from being read is the text then.
    """
    there: Mapping[str, Any] = item.funcargs
    nodes: tuple[Node, ...] = there.get("nodes") or ()
    mode: str = there.get("mode") or ""
    count = item.session.stash.get(told, 0)
    if not nodes or not mode or count >= MOST:
        return []
    try:
        places = wanted(there.values(), said)
        if not places:
            return []
        item.session.stash[told] = count + 1
        about = dict(item.user_properties).get("node")
        concerned = [node for node in nodes if node.name == about] or list(nodes)
        return [
            (f"{mode} rules on {node.name}", rules(mode, texts, places))
            for node, texts in zip(concerned, read(concerned), strict=True)
        ]
    except Exception as error:  # the test's own failure matters more
        return [(f"{mode} rules", f"could not be read: {error}")]


def read(nodes: list[Node]) -> list[Dumps]:
    """The nodes' dumps in the nodes' order."""
    found = dumps(nodes)
    return [found[node.name] for node in nodes]


def wanted(values: Iterable[object], said: str) -> list[Place]:
    """The addresses of the Services that a test has at hand, and those that its failure names."""
    places = [(ip, int(port)) for ip, port in ADDRESS.findall(said)]
    for value in values:
        service = value if isinstance(value, Exposed) else getattr(value, "service", None)
        if isinstance(service, Exposed):
            for port in service.cluster.ports_of(service.namespace, service.name):
                places.append((port.cluster_ip, port.number))
                places += [("", port.node_port)] if port.node_port else []
    return list(dict.fromkeys(places))


def rules(mode: str, texts: Mapping[str, str], places: list[Place]) -> str:
    """The chain of rules for each of these addresses, as dumped, under what it comes to."""
    try:
        services = proxy.read(mode, texts).services
    except LabError as error:
        return f"The reader does not understand them: {error}"
    parts = []
    for ip, port in places:
        found = {
            frontend: found
            for frontend, found in services.items()
            if frontend.port == port and ip in ("", frontend.ip)
        }
        for frontend, chain in found.items():
            ends = ", ".join(map(str, chain.backends)) or (chain.refusal or "no backend")
            parts.append(
                "\n".join([f"# {frontend} {chain.service or ''} ({chain.kind}) → {ends}", *chain.raw])
            )
        if not found:
            parts.append(f"# {ip or 'this node'}:{port}: no rule")
    return "\n\n".join(dict.fromkeys(parts))
