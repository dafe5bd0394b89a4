"""The suites' fixtures: the lab, its nodes, API and clients, and things of their own for tests to change."""

from __future__ import annotations

from collections.abc import Callable, Generator
from pathlib import Path

import pytest
from lightkube import Client as Api

from lab import providers, sources
from lab.config import Config
from lab.errors import LabError
from lab.state import LabState

from . import chain, truth
from .cluster import Cluster
from .nodes import Node, on_each
from .own import default_mytest, mytest, namespace, new_namespace, workload
from .places import client, inside, node_clients, outside, tools_pod
from .rulebook import Rulebook
from .subject import PROXY_MODE, Lab

__all__ = [
    "client",
    "default_mytest",
    "inside",
    "mytest",
    "namespace",
    "new_namespace",
    "node_clients",
    "outside",
    "tools_pod",
    "workload",
]


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("kube-service-lab")
    group.addoption("--lab", default="lab", metavar="NAME", help="the running lab to test (default: lab)")
    group.addoption(
        "--n",
        type=int,
        default=900,
        help="connections for each distribution test (default: 900; nightly: 3000)",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "matrix: fills the truth table of clients, targets and modes")
    config.addinivalue_line(
        "markers", "switch: switches the living lab's proxy mode; only when asked for (-m switch)"
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the mode switch out of a normal run, and bound every test."""
    here = Path(__file__).parent
    mine = [item for item in items if item.path.is_relative_to(here)]
    for item in mine:
        if not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(180))
        item.user_properties.append(("node", place(item)))
    switches = [item for item in mine if item.get_closest_marker("switch")]
    if switches and len(switches) < len(mine) and "switch" not in config.option.markexpr:
        config.hook.pytest_deselected(items=switches)
        items[:] = [item for item in items if item not in switches]


def configured(name: str) -> Config:
    """The lab's configuration as used; the defaults where there is no lab, so that tests can be listed."""
    return LabState(name).read_config() or Config()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """`node`: once on each node; `inside`: from each node and a pod; `client`: from outside as well."""
    names = [node.name for node in configured(metafunc.config.getoption("--lab")).nodes]
    if "node" in metafunc.fixturenames:
        metafunc.parametrize("node", names, indirect=True)
    if "inside" in metafunc.fixturenames:
        metafunc.parametrize("inside", [*names, "pod"], indirect=True)
    if "client" in metafunc.fixturenames:
        metafunc.parametrize("client", [*names, "pod", "outside"], indirect=True)
    if "reach" in metafunc.fixturenames:
        metafunc.parametrize("reach", truth.table(names), ids=str)


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
def lab(pytestconfig: pytest.Config) -> Lab:
    """The running lab that `--lab` names."""
    state = LabState(pytestconfig.getoption("--lab"))
    config = state.read_config()
    if config is None:
        raise LabError(f"There is no lab {state.name!r}.", fix="lab up, then lab test")
    return Lab(config, state, providers.get(config, state))


@pytest.fixture(scope="session")
def nodes(lab: Lab) -> tuple[Node, ...]:
    """All nodes, the master first."""
    return tuple(
        Node.over_ssh(
            node.name,
            str(node.address),
            lab.state.ssh_config,
            sudo=bool(lab.provider.become(node.name)),
        )
        for node in lab.config.nodes
    )


@pytest.fixture
def node(request: pytest.FixtureRequest, nodes: tuple[Node, ...]) -> Node:
    """The node this test is about."""
    return next(node for node in nodes if node.name == request.param)


@pytest.fixture
def host(node: Node) -> object:
    """testinfra's host for this node."""
    return node.host


@pytest.fixture(scope="session")
def cluster(lab: Lab) -> Cluster:
    """The API in the shapes the suites compare."""
    kubectl = sources.get(lab.config.source).program(lab.config, "kubectl")
    return Cluster(lab.state.kubeconfig_inside, kubectl)


@pytest.fixture(scope="session")
def api(cluster: Cluster) -> Api:
    """The lightkube client."""
    return cluster.api


@pytest.fixture(scope="session")
def version(lab: Lab) -> str:
    """The Kubernetes version, `1.37.2`."""
    return lab.config.kubernetes.version


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
def rulebook(cluster: Cluster, lab: Lab, nodes: tuple[Node, ...], mode: str) -> Rulebook:
    """What the nodes have programmed, held against the API."""
    return Rulebook(cluster, lab.config, nodes, mode)


@pytest.fixture(autouse=True)
def _properties(request: pytest.FixtureRequest, record_property: Callable[[str, object], None]) -> None:
    """JUnit properties: the mode of each test, beside its node (or client)."""
    if not request.node.get_closest_marker("switch"):
        record_property("mode", request.getfixturevalue("mode"))


def place(item: pytest.Item) -> str:
    """Where a test asks from: a node, `pod` or `outside`; `all` for the others."""
    found = getattr(getattr(item, "callspec", None), "params", {})
    if "reach" in found:
        return str(found["reach"].client)
    return str(next((found[name] for name in ("node", "inside", "client") if name in found), "all"))
