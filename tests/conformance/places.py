"""The places that connect to Services: each node, a pod, and outside."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import pytest

from lab.any_cluster import PROBER

from .cluster import Cluster
from .nodes import Node
from .own import NewNamespace, start_pod
from .prober import PROBERS
from .probing import DROPPED, TOLD, Client, FromNode, FromOutside, FromPod, Outcome
from .shell import SHELLS
from .subject import Subject
from .together import at_once, each


@dataclass(frozen=True)
class Places:
    """Clients that ask the same targets, all of them at once, each of its own in one round trip."""

    clients: tuple[Client, ...]

    def and_from(self, *more: Client) -> Places:
        """These places and others."""
        return Places((*self.clients, *more))

    def ask(
        self, targets: Sequence[str], *, count: int = 3, udp: bool = False, timeout: float = TOLD
    ) -> list[Outcome]:
        """What became of `count` requests to each target from each place."""
        found = at_once(
            dict(enumerate(self.clients)),
            lambda client: client.probe(*targets, count=count, udp=udp, timeout=timeout),
        )
        return [outcome for outcomes in found.values() for outcome in outcomes]

    def reach(self, *targets: str, by: set[str], count: int = 3, udp: bool = False) -> list[Outcome]:
        """Every request to every target is answered, and by no other pod than these."""
        found = self.ask(targets, count=count, udp=udp)
        each((outcome.client, partial(outcome.assert_all_answered, by=by)) for outcome in found)
        return found

    def miss(self, *targets: str, kind: str | None = None) -> None:
        """No target answers; each fails in the one way named (`refused`), if one is."""
        found = self.ask(targets, count=1, timeout=TOLD if kind else DROPPED)
        each((outcome.client, partial(outcome.assert_none_answered, kind=kind)) for outcome in found)

    def miss_by_udp(self, *targets: str) -> None:
        """No target answers a datagram. In so short a time it is sent once: no refusal is counted on.

        Whoever asked the same target a moment before may by chance, once in some 5,000 datagrams, be given
        the same port of its own again: conntrack still knows the way from there, whatever the rules say now.
        So an answer counts when the next datagrams are answered as well.
        """
        found = self.ask(targets, count=1, udp=True, timeout=DROPPED)
        if any(outcome.answered for outcome in found):
            found = self.ask(targets, count=1, udp=True, timeout=DROPPED)
        each((outcome.client, outcome.assert_none_answered) for outcome in found)


@pytest.fixture(scope="session", autouse=True)
def stays() -> Iterator[None]:
    """Ends the probers and shells that stayed at their places."""
    yield
    PROBERS.end()
    SHELLS.end()


@pytest.fixture(scope="session")
def asking_pod(cluster: Cluster, new_namespace: NewNamespace) -> FromPod:
    """An ordinary pod with the network tools, and nobody's backend."""
    return FromPod(cluster, *start_pod(cluster, new_namespace("tools"), "tools"))


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
        found = request.getfixturevalue("asking_pod")
    else:
        found = node_clients[place]
    return found


@pytest.fixture
def inside(request: pytest.FixtureRequest, node_clients: dict[str, FromNode]) -> Client:
    """A node or a pod: whoever a ClusterIP is for."""
    if request.param in node_clients:
        return node_clients[request.param]
    pod: FromPod = request.getfixturevalue("asking_pod")
    return pod
