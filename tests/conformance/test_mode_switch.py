"""A living lab changes its proxy mode: iptables → ipvs → nftables → iptables, each time clean and complete.

Only when asked for (`-m switch`): every other test of a session wants the mode to stay what it is.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lab.proxy.residue import residue

from .cluster import Cluster
from .nodes import Node, on_each
from .probing import FromNode, FromOutside
from .rulebook import Rulebook, dumps
from .subject import PROXY_MODE, Lab, Subject
from .workload import REPLICAS, Exposed, Workload

WALK = ("iptables", "ipvs", "nftables", "iptables")
SWITCH = 120.0
"""Seconds for one switch on a busy host, the restart of three kube-proxies with it; a wait, not a promise."""


def switch(lab: Lab, mode: str) -> None:
    """`lab proxy-mode MODE`, as a user switches it."""
    command = [str(Path(sys.executable).with_name("lab")), "proxy-mode", mode, "--name", lab.state.name]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SWITCH, check=False)
    assert done.returncode == 0, (
        f"{' '.join(command[1:])}: exit code {done.returncode}\n{done.stdout}{done.stderr}"
    )


def effective(nodes: tuple[Node, ...]) -> dict[str, str]:
    """What each node's kube-proxy says it serves by."""
    return {name: said.strip() for name, said in on_each(nodes, lambda node: node.run(PROXY_MODE)).items()}


@pytest.fixture
def walk(lab: Lab) -> Iterator[tuple[str, ...]]:
    """The modes that this lab's kernels can serve, in turn; afterwards the lab has the mode it had before."""
    possible = set(lab.provider.proxy_modes())
    yield tuple(mode for mode in WALK if mode in possible)
    switch(lab, lab.config.proxy.mode)


@pytest.mark.own_lab
@pytest.mark.behaviour("live-mode-switch")
@pytest.mark.switch
@pytest.mark.timeout(600)
def test_living_lab_walks_through_the_modes(
    walk: tuple[str, ...],
    lab: Lab,
    subject: Subject,
    cluster: Cluster,
    nodes: tuple[Node, ...],
    outside: FromOutside,
    workload: Workload,
    subtests: pytest.Subtests,
    record_property: Callable[[str, object], None],
) -> None:
    service = Exposed(workload, "mytest").expose(kind="NodePort")
    workload.settle(REPLICAS, service=service.name)
    before, port = service.cluster_ip, service.node_port
    pods = set(workload.pods())
    record_property("mode", " → ".join(walk))
    for mode in walk:
        with subtests.test(mode=mode):
            switch(lab, mode)
            assert effective(nodes) == dict.fromkeys((node.name for node in nodes), mode)
            for name, texts in dumps(nodes).items():
                assert not residue(mode, texts), f"{name} in {mode} mode: {residue(mode, texts)}"
            Rulebook(cluster, subject, nodes, mode).settle()
            targets = [f"http://{before}:80", *(f"http://{node.address}:{port}" for node in nodes)]
            for outcomes in on_each(nodes, lambda node: FromNode(node).probe(*targets, count=30)).values():  # noqa: B023
                for outcome in outcomes:
                    outcome.assert_all_answered(by=pods)
            for outcome in outside.probe(*targets[1:], count=30):
                outcome.assert_all_answered(by=pods)
    assert (service.cluster_ip, service.node_port) == (before, port)
