"""`lab test --kubeconfig`: what is refused, what is asked before, what the suites are given, what is left."""

from __future__ import annotations

import json
import os
import pty
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import pytest
from fake_reach import ADDRESSES, FakeReach

from lab import any_cluster, behaviours, shell, suites
from lab.errors import BringUpError
from lab.reach import given, outside, stranger
from lab.reach.base import Object
from lab.reach.survey import DNS, KUBEADM, SERVICE_CIDRS
from lab.report import model, results

Lab = Callable[..., Any]
THEIRS = "theirs (https://example:6443)"
RESTARTED = behaviours.Behaviour.model_validate(
    {
        "id": "restarted",
        "says": "kube-proxy is restarted on every node.",
        "disruptive": True,
        "paths": ["pod → ClusterIP"],
        "fault": "none",
    }
)


class FakeStranger(FakeReach):
    """Somebody's cluster, whose nodes have the lab's images unless told."""

    is_lab = False
    made: list[FakeStranger] = []  # noqa: RUF012 -- emptied by the fixture
    images: tuple[str, ...] = ("tools", "mytest")
    prober = "there"
    refuses = False

    def __init__(self, kubeconfig: Path, *, image: str | None, kubectl: Path | None, life: float) -> None:
        super().__init__()
        assert kubectl is None
        self.kubeconfig, self.image, self.life = kubeconfig, image, life
        self.namespace, self.until = "kube-service-lab-1", "2030-01-01T00:00:00+00:00"
        self.pods: dict[str, str] = {}
        self.left = 0
        self.made.append(self)

    def __enter__(self) -> Self:
        self.image = self.image or self.known_image("tools")
        self.pods = {name: f"view-{name}" for name in ADDRESSES}
        return self

    def __exit__(self, *_: object) -> None:
        self.left += 1

    def kubectl(self, *args: str, **_: Any) -> shell.Result:
        assert args[:3] == ("config", "view", "--minify")
        return shell.Result(args, 0, "theirs https://example:6443", "", 0.1)

    def known_image(self, name: str) -> str | None:
        return f"example/{name}:1" if name in self.images else None

    def get(self, path: str) -> Object:
        if path in (KUBEADM, SERVICE_CIDRS):
            raise BringUpError("no answer")
        known: dict[str, Object] = {"/version": {"gitVersion": "v1.36.1-eks-1"}, DNS: {"items": []}}
        return known[path] if path in known else super().get(path)

    def run(self, script: str, **options: Any) -> dict[str, shell.Result]:
        if "prober" in script:
            return {name: shell.Result(("sh",), 0, f"{self.prober}\n", "", 0.1) for name in ADDRESSES}
        if "uname" in script:
            return {name: shell.Result(("sh",), 0, "nft=nftables v1.1.3\n", "", 0.1) for name in ADDRESSES}
        return super().run(script, **options)


@pytest.fixture(autouse=True)
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[FakeStranger]]:
    class Fresh(FakeStranger):
        made: list[FakeStranger] = []  # noqa: RUF012 -- this test's own

    monkeypatch.setattr(stranger, "Stranger", Fresh)
    monkeypatch.setattr(stranger, "own_kubectl", lambda: None)
    monkeypatch.setattr(outside, "why_not", lambda _: "nobody reaches them")
    yield Fresh
    # Whatever happened, nothing is left where something was made.
    assert all(bool(one.pods) == bool(one.left) for one in Fresh.made)


@pytest.fixture
def theirs(tmp_path: Path) -> str:
    file = tmp_path / "theirs"
    file.write_text("")
    return str(file)


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Suites that are done at once; how each run of them was asked for."""
    asked: list[dict[str, Any]] = []

    def run_at(place: suites.Place, *, mode: str, folder: Path, **options: Any) -> suites.Verdict:
        asked.append({"place": place, "mode": mode, "folder": folder, **options})
        results.append(folder / results.FILE, "session", mode=mode, seed=None, connections=900)
        results.append(folder / results.FILE, "end", mode=mode, exit=0)
        return suites.Verdict(mode, 5, 0, 2, 1.0, folder / f"junit-{mode}.xml")

    monkeypatch.setattr(suites, "run_at", run_at)
    return asked


@pytest.fixture
def disruptive(monkeypatch: pytest.MonkeyPatch) -> None:
    """The suites have a test that disturbs the whole cluster."""
    monkeypatch.setattr(suites, "check", lambda *_: None)
    monkeypatch.setattr(suites, "proofs", lambda _: {"test_it": (RESTARTED.id,)})
    monkeypatch.setattr(behaviours, "load", lambda: {RESTARTED.id: RESTARTED})


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("--name", "lab"), "--name and --kubeconfig are two ways"),
        (("--all-modes",), "its mode stays"),
    ],
)
def test_what_cannot_be_is_refused(
    lab: Lab, theirs: str, cluster: type[FakeStranger], args: tuple[str, ...], said: str
) -> None:
    assert said in lab("test", "--kubeconfig", theirs, *args).assert_exit(2).err
    assert cluster.made == []


@pytest.mark.parametrize(
    "args",
    [
        ("--image", "x"),
        ("--server-image", "x"),
        ("--outside",),
        ("--no-outside",),
        ("--yes",),
        ("--results", "x"),
    ],
)
def test_options_of_any_cluster_are_none_of_a_labs(lab: Lab, args: tuple[str, ...]) -> None:
    said = lab("test", *args).assert_exit(2).err
    assert f"{args[0]}: for a cluster named by --kubeconfig" in said


def test_the_suites_are_given_what_was_found(
    lab: Lab, theirs: str, cluster: type[FakeStranger], ran: list[dict[str, Any]], tmp_path: Path
) -> None:
    into = tmp_path / "results"
    said = lab("test", "--kubeconfig", theirs, "--results", str(into), "--timeout", "100", "-k", "dns")
    assert said.assert_exit(0).out.split()[-7:-1] == ["iptables", "5", "0", "2", "1.0", "s"]
    (asked,) = ran
    assert (asked["args"], asked["mode"], asked["part"]) == (["-k", "dns"], "iptables", "")
    assert asked["place"] == suites.Place(("--given", str(into / given.FILE)))
    told = given.Given.read(into / given.FILE)
    assert told.survey.kubernetes == "1.36.1"
    assert told.pods == {name: f"view-{name}" for name in ADDRESSES}
    assert told.images == {"tools": "example/tools:1", "mytest": "example/mytest:1"}
    assert (told.not_outside, told.disruptive) == ("nobody reaches them", False)
    assert (told.run, told.kubeconfig) == ("kube-service-lab-1", Path(theirs))
    assert cluster.made[0].life == any_cluster.life(100, 1)
    report = model.Report.model_validate_json((into / model.FILE).read_text())
    assert (report.cluster.name, report.cluster.kubeconfig) == ("theirs", theirs)
    assert {node.name for node in report.cluster.nodes} == set(ADDRESSES)
    assert report.cluster.nodes[0].versions == {"nft": "nftables v1.1.3"}


@pytest.mark.usefixtures("ran")
def test_images_and_places_are_the_users(lab: Lab, theirs: str, cluster: type[FakeStranger]) -> None:
    cluster.images = ()
    images = ("--image", "r/tools:2", "--server-image", "r/mytest:2")
    lab("test", "--kubeconfig", theirs, *images, "--outside").assert_exit(0)
    (file,) = Path(any_cluster.RESULTS).glob(f"*/{given.FILE}")
    told = given.Given.read(file)
    assert told.images == {"tools": "r/tools:2", "mytest": "r/mytest:2"}
    assert told.not_outside == ""


@pytest.mark.usefixtures("ran")
def test_no_outside_is_a_reason(lab: Lab, theirs: str) -> None:
    said = lab("test", "--kubeconfig", theirs, "--no-outside").assert_exit(0).err
    assert "No client outside the cluster: --no-outside was given." in said


def test_a_matrix_is_of_the_mode_that_is_on(lab: Lab, theirs: str, ran: list[dict[str, Any]]) -> None:
    lab("test", "--kubeconfig", theirs, "--matrix").assert_exit(0)
    assert [(one["args"], one["mode"]) for one in ran] == [(["-m", "matrix"], "iptables")]


def test_an_image_that_is_not_there_is_named(
    lab: Lab, theirs: str, cluster: type[FakeStranger], ran: list[dict[str, Any]]
) -> None:
    cluster.images = ("tools",)
    said = lab("test", "--kubeconfig", theirs).assert_exit(2).err
    assert "and name it: --server-image IMAGE" in said
    cluster.images, cluster.prober = ("tools", "mytest"), "missing"
    said = lab("test", "--kubeconfig", theirs).assert_exit(2).err
    assert "The image example/tools:1 has no /usr/local/bin/prober" in said
    assert ran == []


def test_results_are_never_mixed(lab: Lab, theirs: str, ran: list[dict[str, Any]], tmp_path: Path) -> None:
    (tmp_path / results.FILE).write_text("")
    said = lab("test", "--kubeconfig", theirs, "--results", str(tmp_path)).assert_exit(2).err
    assert f"There are results in {tmp_path} already." in said
    assert ran == []


def test_a_run_that_breaks_leaves_nothing_but_its_report(
    lab: Lab, theirs: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> suites.Verdict:
        raise KeyboardInterrupt

    monkeypatch.setattr(suites, "run_at", interrupted)
    said = lab("test", "--kubeconfig", theirs).assert_exit(130).err
    assert "Removing what the run made: done" in said
    (report,) = Path(any_cluster.RESULTS).glob(f"*/{model.FILE}")
    assert not json.loads(report.read_text())["complete"]


@pytest.mark.usefixtures("disruptive")
def test_nobody_to_ask_is_no_yes(
    lab: Lab, theirs: str, cluster: type[FakeStranger], ran: list[dict[str, Any]]
) -> None:
    said = lab("test", "--kubeconfig", theirs, "--disruptive").assert_exit(2).err
    assert said.splitlines() == [
        f"error: These tests disturb all of {THEIRS}, and there is nobody to ask whether they may.",
        "  - restarted: kube-proxy is restarted on every node.",
        "To mend it: say yes on the command line: --yes",
    ]
    assert ran == []
    assert not cluster.made[0].pods


@pytest.mark.usefixtures("disruptive")
def test_yes_is_an_answer(lab: Lab, theirs: str, ran: list[dict[str, Any]]) -> None:
    lab("test", "--kubeconfig", theirs, "--disruptive", "--yes", "-x").assert_exit(0)
    assert [(one["part"], one["args"]) for one in ran] == [
        ("", ["-x"]),
        ("disruptive", ["-x", "-m", "disruptive", "--numprocesses=0"]),
    ]
    assert given.Given.read(ran[0]["folder"] / given.FILE).disruptive


@pytest.mark.usefixtures("disruptive")
@pytest.mark.parametrize(("answer", "code"), [("y\n", 0), ("n\n", 2), ("\n", 2)])
def test_at_a_terminal_it_asks(
    lab: Lab,
    theirs: str,
    ran: list[dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
    answer: str,
    code: int,
) -> None:
    person, terminal = pty.openpty()
    os.write(person, answer.encode())
    with os.fdopen(terminal) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        said = lab("test", "--kubeconfig", theirs, "--disruptive").assert_exit(code).err
    os.close(person)
    assert "  - restarted: kube-proxy is restarted on every node." in said
    assert bool(ran) == (code == 0)


def test_a_cluster_without_disruptive_tests_asked_for_is_not_asked_about(
    lab: Lab, theirs: str, ran: list[dict[str, Any]]
) -> None:
    lab("test", "--kubeconfig", theirs, "--disruptive", "test_nodes.py").assert_exit(0)
    assert [one["part"] for one in ran] == [""]
