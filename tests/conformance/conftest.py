"""The suites' fixtures: the cluster, its nodes, API and clients, and things of tests' own to change."""

from __future__ import annotations

import functools
from collections.abc import Callable, Generator, Iterable
from pathlib import Path

import pytest
from lightkube import Client as Api

from lab import behaviours, providers
from lab.config import Config
from lab.errors import LabError
from lab.reach.given import Given
from lab.state import LabState

from . import chain, facts, truth
from .clients import pod_clients
from .cluster import Cluster
from .everywhere import everywhere
from .nodes import Node, on_each
from .own import copy_of_mytest, default_mytest, mytest, namespace, new_namespace, workload
from .places import asking_pod, client, inside, node_clients, outside, outsiders, stays
from .rulebook import Rulebook
from .stage import shared_stage, stage
from .subject import PROXY_MODE, Lab, OwnLab, Stranger, Subject

__all__ = [
    "asking_pod",
    "client",
    "copy_of_mytest",
    "default_mytest",
    "everywhere",
    "inside",
    "mytest",
    "namespace",
    "new_namespace",
    "node_clients",
    "outside",
    "outsiders",
    "pod_clients",
    "shared_stage",
    "stage",
    "stays",
    "workload",
]

APART = ("switch", "disruptive")
"""Markers of tests that run only when asked for."""
LONGEST = (
    "loadbalancer",
    "loadbalancer_l2",
    "loadbalancer_pods",
    "distribution",
    "service_programming",
    "traffic_policy",
    "hostport",
    "service_ports",
    "facts",
    "endpoints",
    "terminating_endpoints",
    "conntrack",
    "session_affinity",
    "clusterip",
    "networking",
    "truth_table",
)
"""Files that take most of a minute and more beside others: what begins last shall be short."""
NO_LAB = "is about a lab of ours, and no lab made this cluster"


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("kube-service-lab")
    group.addoption("--lab", default="lab", metavar="NAME", help="the running lab to test (default: lab)")
    group.addoption(
        "--given",
        type=Path,
        metavar="FILE",
        help="instead of a lab, any cluster: what `lab test --kubeconfig` found out about it",
    )
    group.addoption(
        "--n",
        type=int,
        default=900,
        help="connections for each distribution test (default: 900; nightly: 3000)",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "matrix: fills the truth table of clients, targets and modes")
    config.addinivalue_line("markers", "behaviour(id, …): what it proves, by ids of behaviours/*.yaml")
    config.addinivalue_line(
        "markers", "disruptive: disturbs others; only when asked for (-m disruptive); set by its behaviours"
    )
    config.addinivalue_line("markers", "own_lab: is about a lab of ours; skipped on any other cluster")
    config.addinivalue_line("markers", "facts: measures what else differs between the modes")
    config.addinivalue_line(
        "markers", "switch: switches the living lab's proxy mode; only when asked for (-m switch)"
    )


@pytest.hookimpl(tryfirst=True)  # before pytest chooses by -m
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Bound every test, say what it proves and where, and leave out what disturbs others unless asked for."""
    here = Path(__file__).parent
    mine = [item for item in items if item.path.is_relative_to(here)]
    known = behaviours.load()
    for item in mine:
        if not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(180))
        item.user_properties.append(("node", place(item)))
        if unknown := [one for one in proved(item) if one not in known]:
            raise pytest.UsageError(
                f"{item.nodeid} names {', '.join(unknown)}, no behaviour of behaviours/*.yaml"
            )
        if any(known[one].disruptive for one in proved(item)):
            item.add_marker(pytest.mark.disruptive)
    leave_out(given(config), mine)
    apart = [
        item
        for item in mine
        for marker in APART
        if item.get_closest_marker(marker) and marker not in config.option.markexpr
    ]
    if apart and len(apart) < len(mine):
        config.hook.pytest_deselected(items=apart)
        items[:] = [item for item in items if item not in apart]
    if hasattr(config, "workerinput"):
        items[:] = longest_first(items)


def longest_first(items: Iterable[pytest.Item]) -> list[pytest.Item]:
    """Whole files: those of `LONGEST`, then those of few tests, which take longer than many together do."""
    files: dict[Path, list[pytest.Item]] = {}
    for item in items:
        files.setdefault(item.path, []).append(item)
    order = {f"test_{name}.py": number for number, name in enumerate(LONGEST)}
    ranked = sorted(files, key=lambda file: (order.get(file.name, len(order)), len(files[file])))
    return [item for file in ranked for item in files[file]]


def given(config: pytest.Config) -> Given | None:
    """What is known of a cluster that no lab made; None: it is a lab."""
    file: Path | None = config.getoption("--given")
    return _read(file) if file else None


@functools.cache
def _read(file: Path) -> Given:
    return Given.read(file)


def leave_out(told: Given | None, items: Iterable[pytest.Item]) -> None:
    """Skip on a cluster that no lab made what is about labs, and what disturbs it if nobody said yes."""
    if told is None:
        return
    for item in items:
        if item.get_closest_marker("own_lab"):
            item.add_marker(pytest.mark.skip(reason=NO_LAB))
        if item.get_closest_marker("disruptive") and not told.disruptive:
            item.add_marker(pytest.mark.skip(reason="disturbs the whole cluster: --disruptive asks first"))


def node_names(config: pytest.Config) -> list[str]:
    """The nodes, the master first; those of the defaults where no lab is, so that tests can be listed."""
    told = given(config)
    if told is not None:
        return [node.name for node in told.survey.nodes]
    return [node.name for node in (LabState(config.getoption("--lab")).read_config() or Config()).nodes]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """`node`: once on each node; `inside`: from each node and a pod; `client`: from outside as well."""
    names = node_names(metafunc.config)
    if "node" in metafunc.fixturenames:
        metafunc.parametrize("node", names, indirect=True)
    if "inside" in metafunc.fixturenames:
        metafunc.parametrize("inside", [*names, "pod"], indirect=True)
    if "client" in metafunc.fixturenames:
        metafunc.parametrize("client", [*names, "pod", "outside"], indirect=True)
    if "reach" in metafunc.fixturenames:
        metafunc.parametrize("reach", truth.table(names), ids=str)
    if "fact" in metafunc.fixturenames:
        metafunc.parametrize("fact", facts.table(names), ids=str)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failing test is shown with the rules that it went by."""
    report = yield
    if (
        report.failed
        and isinstance(item, pytest.Function)
        and item.path.is_relative_to(Path(__file__).parent)
    ):
        report.sections += chain.sections(item, f"{call.excinfo and call.excinfo.value}")
    return report


@pytest.fixture(scope="session")
def subject(pytestconfig: pytest.Config) -> Subject:
    """What is known of the cluster under test, whoever made it."""
    told = given(pytestconfig)
    if told is not None:
        return Stranger.of(told)
    state = LabState(pytestconfig.getoption("--lab"))
    config = state.read_config()
    if config is None:
        raise LabError(f"There is no lab {state.name!r}.", fix="lab up, then lab test")
    return OwnLab.of(Lab(config, state, providers.get(config, state)))


@pytest.fixture(scope="session")
def lab(subject: Subject) -> Lab:
    """The running lab that `--lab` names, for tests that are about labs."""
    if not isinstance(subject, OwnLab):
        pytest.skip(NO_LAB)
    return subject.lab


@pytest.fixture(scope="session")
def nodes(subject: Subject) -> tuple[Node, ...]:
    """All nodes, the master first."""
    return tuple(subject.connect(machine) for machine in subject.machines)


@pytest.fixture
def node(request: pytest.FixtureRequest, nodes: tuple[Node, ...]) -> Node:
    """The node this test is about."""
    return next(node for node in nodes if node.name == request.param)


@pytest.fixture
def host(node: Node) -> object:
    """testinfra's host for this node."""
    return node.host


@pytest.fixture(scope="session")
def cluster(subject: Subject) -> Cluster:
    """The API in the shapes the suites compare."""
    return Cluster(subject.kubeconfig, subject.kubectl, subject.images)


@pytest.fixture(scope="session")
def api(cluster: Cluster) -> Api:
    """The lightkube client."""
    return cluster.api


@pytest.fixture(scope="session")
def version(subject: Subject) -> str:
    """The Kubernetes version, `1.37.2`."""
    return subject.version


@pytest.fixture(scope="session")
def modes(nodes: tuple[Node, ...]) -> dict[str, str]:
    """Each node's effective proxy mode, as its kube-proxy says."""
    return {name: said.strip() for name, said in on_each(nodes, lambda node: node.run(PROXY_MODE)).items()}


@pytest.fixture(scope="session")
def mode(modes: dict[str, str]) -> str:
    """The proxy mode that is in effect on all nodes."""
    (mode,) = set(modes.values()) if len(set(modes.values())) == 1 else (None,)
    assert mode, f"the nodes' kube-proxies do not agree on the mode: {modes}"
    return mode


@pytest.fixture(scope="session")
def rulebook(cluster: Cluster, subject: Subject, nodes: tuple[Node, ...], mode: str) -> Rulebook:
    """What the nodes have programmed, held against the API."""
    return Rulebook(cluster, subject, nodes, mode)


@pytest.fixture(autouse=True)
def _properties(request: pytest.FixtureRequest, record_property: Callable[[str, object], None]) -> None:
    """JUnit properties: the mode of each test, beside its node (or client)."""
    if not request.node.get_closest_marker("switch"):
        record_property("mode", request.getfixturevalue("mode"))


@pytest.fixture(autouse=True)
def _in_its_modes(request: pytest.FixtureRequest) -> None:
    """A behaviour of some modes is not looked for in the others."""
    known = behaviours.load()
    modes = {mode for one in proved(request.node) for mode in known[one].modes}
    if modes and modes != set(behaviours.MODES) and request.getfixturevalue("mode") not in modes:
        pytest.skip(f"is of {' and '.join(sorted(modes))} mode alone")


def proved(item: pytest.Item) -> list[str]:
    """The ids of the behaviours that a test proves."""
    return [one for marker in item.iter_markers("behaviour") for one in marker.args]


def place(item: pytest.Item) -> str:
    """Where a test asks from: a node, `pod` or `outside`; `all` for the others."""
    found = getattr(getattr(item, "callspec", None), "params", {})
    cell = found.get("reach") or found.get("fact")
    if cell:
        return str(cell.client)
    return str(next((found[name] for name in ("node", "inside", "client") if name in found), "all"))
