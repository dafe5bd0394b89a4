"""The suites on a cluster that no lab made: how they see its nodes, and what they leave out there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from lab import shell, suites
from lab.proxy.settings import Settings
from lab.reach.given import Given
from lab.reach.stranger import TOOLS
from lab.reach.survey import Survey, SurveyedNode

#: Runs what is to run in a pod here, and notes how it was asked.
KUBECTL = """#!/bin/sh
echo "$KUBECONFIG $@" >>"$(dirname "$0")/asked"
while [ "$1" != -- ]; do shift; done
shift
exec "$@"
"""


@pytest.fixture
def given(tmp_path: Path) -> Given:
    kubectl = tmp_path / "kubectl"
    kubectl.write_text(KUBECTL)
    kubectl.chmod(0o755)
    node = SurveyedNode(
        name="n1",
        address="10.0.0.1",
        control_plane=True,
        mode="nftables",
        zone="a",
        settings=Settings(),
        versions={},
    )
    survey = Survey(
        name="theirs", kubernetes="1.36.1", nodes=(node,), pod_cidr=None, service_cidr=None, cluster_dns=None
    )
    return Given(
        survey=survey,
        kubectl=kubectl,
        kubeconfig=tmp_path / "theirs",
        run="kube-service-lab-1",
        until="2030-01-01T00:00:00+00:00",
        pods={"n1": "view-1"},
        container="view",
        prepare="printf '%s\\n' ready >/dev/null; NODE=/host; export NODE",
        images={"tools": "example/tools:1"},
        not_outside="far away",
        disruptive=False,
    )


@pytest.fixture
def conformance(of_suites: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    # What the subject puts there for testinfra is taken back.
    monkeypatch.setenv("KUBECONFIG", "")
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    return of_suites("conftest")


@pytest.fixture
def subject(of_suites: Callable[[str], ModuleType], conformance: ModuleType, given: Given) -> Iterator[Any]:
    yield conformance.Stranger.of(given)
    of_suites("shell").SHELLS.end()


def test_a_node_is_a_pod_that_is_entered_by_kubectl(subject: Any, given: Given) -> None:
    (machine,) = subject.machines
    node = subject.connect(machine)
    assert (node.name, node.address) == ("n1", "10.0.0.1")
    assert node.run("printf '%s|' \"$NODE\" 'a b'") == "/host|a b|"
    asked, *_ = (given.kubectl.parent / "asked").read_text().splitlines()
    said = asked.partition(" -- ")[0].split()
    where = [f"--namespace={given.run}", "view-1", "--container=view"]
    assert said == [str(given.kubeconfig), "exec", "--stdin", *where]


def test_what_fails_in_a_pod_fails_and_is_bounded(subject: Any) -> None:
    node = subject.connect(subject.machines[0])
    with pytest.raises(AssertionError, match="n1: exit status 3"):
        node.run("echo no >&2; exit 3")
    with pytest.raises(AssertionError, match=r"n1: ended after 0\.2 s"):
        node.run("sleep 20", timeout=0.2)


def test_a_file_of_a_node_is_read_from_its_pod(subject: Any, given: Given) -> None:
    assert subject.reading("/prober") == [
        str(given.kubectl),
        f"--kubeconfig={given.kubeconfig}",
        "exec",
        f"--namespace={given.run}",
        "view-1",
        "--container=view",
        "--",
        "cat",
        "/prober",
    ]


def test_what_is_not_known_is_left_out_with_the_reason(subject: Any) -> None:
    with pytest.raises(pytest.skip.Exception, match="the cluster does not say what its service cidr is"):
        subject.known("service_cidr")
    assert subject.known("version") == "1.36.1"


class Kept:
    """An API that keeps what is applied."""

    def __init__(self) -> None:
        self.applied: list[Any] = []

    def apply(self, wanted: Any, **_: object) -> None:
        self.applied.append(wanted)


@pytest.mark.parametrize(
    ("kind", "made"), [("LoadBalancer", "kube-service-lab.io/nobody"), ("NodePort", None)]
)
def test_nobody_makes_a_load_balancer(
    of_suites: Callable[[str], ModuleType], conformance: ModuleType, kind: str, made: str | None
) -> None:
    """Neither MetalLB nor somebody's cloud, for a Service of a stage."""
    cluster = conformance.Cluster.__new__(conformance.Cluster)
    cluster.images, cluster.api = {}, Kept()
    of_suites("stage").Stage(cluster, "there", None, None).service({}, type=kind)
    assert [one.spec.loadBalancerClass for one in cluster.api.applied] == [made]


class Item:
    """A test with some markers."""

    def __init__(self, *markers: str) -> None:
        self.markers = markers
        self.added: list[Any] = []

    def get_closest_marker(self, name: str) -> str | None:
        return name if name in self.markers else None

    def add_marker(self, marker: Any) -> None:
        self.added.append(marker)


@pytest.mark.parametrize(
    ("markers", "agreed", "why"),
    [
        ((), False, None),
        (("own_lab",), True, "is about a lab of ours"),
        (("disruptive",), False, "--disruptive asks first"),
        (("disruptive",), True, None),
    ],
)
def test_what_is_left_out(
    conformance: ModuleType, given: Given, markers: tuple[str, ...], agreed: bool, why: str | None
) -> None:
    item = Item(*markers)
    conformance.leave_out(given.model_copy(update={"disruptive": agreed}), [item])
    assert [why in marker.kwargs["reason"] for marker in item.added] == ([True] if why else [])
    on_a_lab = Item(*markers)
    conformance.leave_out(None, [on_a_lab])
    assert on_a_lab.added == []


def test_what_takes_longest_begins_first(conformance: ModuleType) -> None:
    """Of several workers none shall be left with a long file when the others have ended."""
    folder = Path(__file__).parents[1] / "conformance"
    long = [folder / f"test_{name}.py" for name in conformance.LONGEST]
    assert [file for file in long if not file.is_file()] == []
    many, few = folder / "test_many.py", folder / "test_few.py"
    items = [SimpleNamespace(path=path) for path in (many, many, long[1], few, long[0], many)]
    told = [item.path for item in conformance.longest_first(items)]
    assert told == [long[0], long[1], few, many, many, many]


def test_tests_are_of_its_nodes_and_those_of_labs_are_skipped(given: Given, tmp_path: Path) -> None:
    place = suites.Place(("--given", str(given.write(tmp_path / "cluster.json"))))
    args = ["test_nodes.py", "-m", "own_lab"]
    verdict = suites.run_at(place, mode="nftables", args=args, folder=tmp_path, log=tmp_path / "log")
    assert (verdict.passed, verdict.failed) == (0, 0)
    assert verdict.skipped > 5
    said = verdict.junit.read_text()
    assert "[n1]" in said
    assert "no lab made this cluster" in said
    assert "node01" not in said


def test_the_nodes_programs_stand_in_and_the_flavour_of_kube_proxy_is_chosen(tmp_path: Path) -> None:
    """With a `chroot` that has programs of its own: the real script, in an own folder for `/tmp`."""
    node = tmp_path / "node"
    node.mkdir()
    for name, text in {
        "iptables-save": "echo ':KUBE-KUBELET-CANARY - [0:0]'",
        "iptables-legacy-save": 'echo ":KUBE-SERVICES - [0:0] $*"',
        "ipvsadm": 'echo ipvs "$@"',
    }.items():
        (node / name).write_text(f"#!/bin/sh\n{text}\n")
        (node / name).chmod(0o755)
    image = tmp_path / "image"
    image.mkdir()
    chroot = f'#!/bin/sh\nshift\nPATH={node}:/nowhere\nexport PATH\nexec /usr/bin/env "$@"\n'
    (image / "chroot").write_text(chroot)
    (image / "chroot").chmod(0o755)
    for tool in ("sh", "mkdir", "chmod", "cat", "touch"):
        (image / tool).symlink_to(f"/bin/{tool}")
    (node / "sh").symlink_to("/bin/sh")
    # Elsewhere than /tmp, and with no program of this host.
    script = TOOLS.replace("/tmp/of-the-node", str(tmp_path / "made")).replace(":/usr/sbin:/sbin", "")
    ask = "iptables-save -c; ipvsadm -Ln; command -v nft || echo no nft"
    said = shell.run(["/bin/sh", "-c", script + ask], timeout=20, env={"PATH": str(image)})
    assert said.stdout.splitlines() == [":KUBE-SERVICES - [0:0] -c", "ipvs -Ln", "no nft"]
    again = shell.run(["/bin/sh", "-c", script + ask], timeout=20, env={"PATH": str(image)})
    assert again.stdout == said.stdout


def test_the_subject_finds_kubectl_by_its_name(subject: Any, given: Given) -> None:
    found = shell.run(["sh", "-c", "command -v kubectl"], timeout=10).stdout.strip()
    assert found == str(given.kubectl)
    assert subject.images == given.images
