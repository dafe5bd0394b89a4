"""Fixtures: the places that connect to Services: each node, a pod, and outside."""

from __future__ import annotations

import subprocess

import pytest

from .cluster import Cluster
from .nodes import Node
from .own import NewNamespace, start_pod
from .probing import PROBER, Client, FromNode, FromOutside, FromPod
from .subject import Lab


@pytest.fixture(scope="session")
def tools_pod(cluster: Cluster, new_namespace: NewNamespace) -> tuple[str, str]:
    """(namespace, name) of a pod with the network tools."""
    return start_pod(cluster, new_namespace("tools"), "tools")


@pytest.fixture(scope="session")
def outside(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> FromOutside:
    """This process's own place on the lab's network, with the same prober as the nodes."""
    path = tmp_path_factory.mktemp("prober") / "prober"
    fetch = ["ssh", "-F", str(lab.state.ssh_config), lab.config.master.name, "cat", PROBER]
    with path.open("wb") as file:
        subprocess.run(fetch, stdout=file, timeout=60, check=True)
    path.chmod(0o755)
    return FromOutside(path)


@pytest.fixture(scope="session")
def node_clients(nodes: tuple[Node, ...]) -> dict[str, FromNode]:
    """Each node as a client, by name."""
    return {node.name: FromNode(node) for node in nodes}


@pytest.fixture
def client(request: pytest.FixtureRequest, node_clients: dict[str, FromNode]) -> Client:
    """The place this test connects from: a node, a pod, or outside."""
    place: str = request.param
    if place == "outside":
        found: Client = request.getfixturevalue("outside")
    elif place == "pod":
        found = FromPod(request.getfixturevalue("cluster"), *request.getfixturevalue("tools_pod"))
    else:
        found = node_clients[place]
    return found


@pytest.fixture
def inside(request: pytest.FixtureRequest, node_clients: dict[str, FromNode]) -> Client:
    """A node or a pod: whoever a ClusterIP is for."""
    if request.param in node_clients:
        return node_clients[request.param]
    return FromPod(request.getfixturevalue("cluster"), *request.getfixturevalue("tools_pod"))
