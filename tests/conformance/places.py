"""Fixtures: the places that connect to Services: each node, a pod, and outside."""

from __future__ import annotations

import subprocess

import pytest

from .cluster import Cluster
from .nodes import Node
from .own import NewNamespace, start_pod
from .probing import PROBER, Client, FromNode, FromOutside, FromPod
from .subject import Subject


@pytest.fixture(scope="session")
def tools_pod(cluster: Cluster, new_namespace: NewNamespace) -> tuple[str, str]:
    """(namespace, name) of a pod with the network tools."""
    return start_pod(cluster, new_namespace("tools"), "tools")


@pytest.fixture(scope="session")
def outside(subject: Subject, tmp_path_factory: pytest.TempPathFactory) -> FromOutside:
    """This process's own place, on no node of the cluster, with the same prober as the nodes."""
    if subject.not_outside:
        pytest.skip(subject.not_outside)
    path = tmp_path_factory.mktemp("prober") / "prober"
    with path.open("wb") as file:
        subprocess.run(subject.reading(PROBER), stdout=file, timeout=60, check=True)
    path.chmod(0o755)
    return FromOutside(path)


@pytest.fixture(scope="session")
def outsiders(request: pytest.FixtureRequest, subject: Subject) -> tuple[FromOutside, ...]:
    """`outside` where there is such a place, else nobody: for tests that ask from inside as well."""
    return () if subject.not_outside else (request.getfixturevalue("outside"),)


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
