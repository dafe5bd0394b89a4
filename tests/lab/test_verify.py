"""`lab verify`, `explain`, `test` and `migrate-check` on a living lab: as its owner, or by its kubeconfig."""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from harness import Lab, MakeLab, can
from lightkube.codecs import from_dict
from lightkube.models.core_v1 import ServicePort, ServiceSpec
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import Namespace, Service
from raised import NODES, Raised, raise_lab

from lab.migrate.model import Migration
from lab.reach.given import FILE, Given
from lab.reach.spaces import MANAGED, MANAGER, manifest
from lab.report.model import Report

pytestmark = pytest.mark.skipif(not can("podman"), reason="the podman provider needs podman and root")

#: One rule of mytest-svc's taken away by hand on node01, in each mode; what is there is kept before.
SABOTAGE = {
    "iptables": """
iptables-save > /tmp/kept
rule=$(grep -m1 'KUBE-SVC-.*"default/mytest-svc -> ' /tmp/kept)
eval "iptables -t nat -D ${rule#-A }"
echo "$rule"
""",
    "nftables": """
pattern='[0-9.]* . tcp . 80 : goto service-[A-Z0-9]*-default/mytest-svc/tcp/'
element=$(nft list map ip kube-proxy service-ips | grep -o "$pattern" | tee /tmp/kept)
nft delete element ip kube-proxy service-ips "{ ${element% : *} }"
echo "$element"
""",
}
MEND = {
    "iptables": "iptables-restore < /tmp/kept",
    "nftables": 'nft add element ip kube-proxy service-ips "{ $(cat /tmp/kept) }"',
}


@pytest.fixture(scope="module")
def raised(make_lab: MakeLab) -> Iterator[Raised]:
    lab = make_lab("verify")
    lab.run("doctor", "--provider", "podman", "--install", timeout=900).assert_success()
    lab.run("bundle", "build", "--provider", "podman", timeout=1200).assert_success()
    yield raise_lab(lab, "provider: podman\n")
    lab.named("down", timeout=180).assert_success()


@pytest.fixture(scope="module", params=["iptables", "nftables"])
def mode(request: pytest.FixtureRequest, raised: Raised) -> str:
    """The lab, switched to a mode."""
    name: str = request.param
    raised.lab.named("proxy-mode", name).assert_success()
    return name


def verified(lab: Lab, *args: str, code: int = 0) -> Any:
    return lab.named("verify", "-o", "json", *args).assert_exit(code).json()


@pytest.mark.timeout(600)
def test_a_sound_lab_agrees_in_seconds(raised: Raised, mode: str) -> None:
    found = verified(raised.lab)
    assert found["differences"] == []
    assert found["nodes"] == dict.fromkeys(NODES, mode)
    assert found["services"] == 3
    # Three ClusterIP ports of TCP with endpoints, besides DNS's metrics: three connections each.
    assert found["traffic"]["connections"] == 3 * 3 * found["traffic"]["addresses"] >= 27
    assert found["seconds"] < 20


def test_a_rule_taken_away_is_named(raised: Raised, mode: str) -> None:
    said = raised.lab.named("exec", "node01", "--", "sh", "-ec", SABOTAGE[mode]).assert_success().stdout
    assert "mytest-svc" in said
    try:
        found = verified(raised.lab, "--settle", "1", code=1)
    finally:
        raised.lab.named("exec", "node01", "--", "sh", "-ec", MEND[mode]).assert_success()
    assert {one["node"] for one in found["differences"]} == {"node01"}
    assert {one["service"] for one in found["differences"]} == {"default/mytest-svc"}
    assert verified(raised.lab)["agree"]


def test_explain_tells_the_endpoints_of_the_slices(raised: Raised, mode: str, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    raised.lab.named("explain", "mytest-svc", "--html", str(page)).assert_success()
    assert page.read_text().count("1/3") >= 9
    told = raised.lab.named("explain", "mytest-svc", "--from", "node02", "-o", "json").assert_success().json()
    assert (told["node"], told["mode"]) == ("node02", mode)
    (walk,) = told["walks"]
    (outcome,) = walk["outcomes"]
    assert outcome["endpoints"] == {one["address"]: "1/3" for one in told["endpoints"]}
    assert [one["state"] for one in told["endpoints"]] == ["ready"] * 3


@pytest.fixture
def kubeconfig(raised: Raised, tmp_path: Path) -> Path:
    """All that a stranger has."""
    path = raised.lab.named("kubeconfig", "--path").assert_success().stdout.strip()
    return Path(shutil.copy(path, tmp_path / "theirs"))


def spaces(raised: Raised) -> set[str]:
    """The namespaces that runs have made, by their label."""
    found = raised.client().list(Namespace, labels={MANAGED: MANAGER})
    return {space.metadata.name or "" for space in found if space.metadata}


def test_any_cluster_by_its_kubeconfig_alone(raised: Raised, kubeconfig: Path, mode: str) -> None:
    as_stranger = ("--kubeconfig", str(kubeconfig))
    found = raised.lab.run("verify", *as_stranger, "--traffic", "-o", "json").assert_success().json()
    assert found["nodes"] == dict.fromkeys(NODES, mode)
    assert found["traffic"]["connections"] >= 27
    told = raised.lab.run("explain", "mytest-svc", *as_stranger, "-o", "json").assert_success().stdout
    assert json.loads(told)["mode"] == mode
    assert spaces(raised) == set()


@pytest.mark.usefixtures("mode")
def test_interrupted_it_leaves_nothing_in_the_cluster(raised: Raised, kubeconfig: Path) -> None:
    result = raised.lab.interrupted("verify", "--kubeconfig", str(kubeconfig), after="Reading EndpointSlices")
    result.assert_exit(130)
    assert spaces(raised) == set()


#: A few tests of each way to look: rules by the nodes' own programs, traffic from nodes and pods, DNS.
SOME = (
    "test_rules.py::test_the_walk_rule_by_rule",
    "test_clusterip.py::test_answers",
    "test_clusterip.py::test_virtual_ip_is_of_the_service_range",
    "test_dns.py::test_kubernetes_is_found",
    "test_truth_table.py",
)


def test_the_suites_on_any_cluster(raised: Raised, kubeconfig: Path, tmp_path: Path) -> None:
    into = tmp_path / "results"
    asked = ("test", "--kubeconfig", str(kubeconfig), "--results", str(into), *SOME)
    raised.lab.run(*asked, timeout=170).assert_success()
    report = Report.model_validate_json((into / "report.json").read_text())
    assert report.complete
    assert {result.node for result in report.results if result.outcome == "passed"} >= {*NODES, "pod"}
    (mode,) = {session.mode for session in report.sessions}
    assert in_mode(raised, mode)
    assert all(node.versions.get("kernel") for node in report.cluster.nodes)
    assert [node.control_plane for node in report.cluster.nodes] == [True, False, False]
    survey = Given.read(into / FILE).survey
    # As the lab was configured, though nobody said so.
    assert (survey.pod_cidr, survey.service_cidr) == ("10.244.0.0/16", "10.96.0.0/12")
    assert survey.cluster_dns == "10.96.0.10"
    # 192.168.1.200 is no address of the lab's for who has the kubeconfig alone.
    assert {result.outcome for result in report.results if result.node == "outside"} == {"skipped"}
    assert spaces(raised) == set()


def test_suites_that_are_interrupted_leave_nothing_in_the_cluster(
    raised: Raised, kubeconfig: Path, tmp_path: Path
) -> None:
    asked = ("test", "--kubeconfig", str(kubeconfig), "--results", str(tmp_path / "results"), *SOME)
    result = raised.lab.interrupted(*asked, after="Suites in")
    result.assert_exit(130)
    assert spaces(raised) == set()


def test_what_a_killed_run_left_goes_with_the_next(raised: Raised, kubeconfig: Path) -> None:
    old = manifest(
        "kube-service-lab-killed", run="kube-service-lab-killed", until="2026-01-01T00:00:00+00:00"
    )
    raised.client().create(from_dict(old))
    raised.lab.run("verify", "--kubeconfig", str(kubeconfig)).assert_success()
    end = time.monotonic() + 60
    while spaces(raised) and time.monotonic() < end:
        time.sleep(0.5)
    assert spaces(raised) == set()


@pytest.fixture
def sticky(raised: Raised) -> Iterator[str]:
    """A Service of the user's: a NodePort, and session affinity. Its name with the namespace."""
    client = raised.client()
    spec = ServiceSpec(
        type="NodePort",
        selector={"run": "mytest"},
        sessionAffinity="ClientIP",
        ports=[ServicePort(port=80, targetPort=8080)],
    )
    client.create(Service(metadata=ObjectMeta(name="sticky", namespace="default"), spec=spec))
    yield "default/sticky"
    client.delete(Service, "sticky", namespace="default")


def in_mode(raised: Raised, mode: str) -> bool:
    said = raised.lab.named("proxy-mode", "-o", "json").assert_success().json()
    return bool(said == dict.fromkeys(NODES, mode))


@pytest.mark.timeout(400)
def test_what_a_migration_changes_is_measured(raised: Raised, sticky: str) -> None:
    raised.lab.named("proxy-mode", "iptables").assert_success()
    result = raised.lab.named(
        "migrate-check", "iptables", "nftables", "-o", "json", "-m", "matrix or facts", timeout=300
    )
    found = Migration.model_validate(result.assert_success().json())
    print(result)
    changes = {one.what: one for one in found.comparison.changes}
    loopback = changes["NodePort on 127.0.0.1"]
    assert (loopback.clients, loopback.before.seen, loopback.after.seen) == (NODES, "answers", "refused")
    assert [one.service for one in loopback.services] == [sticky]
    assert "ClusterIP, port of no Service" in changes
    assert "choice of the backend" not in changes, "at random in both"
    assert {*found.services} == {"default/kubernetes", "default/mytest-svc", "kube-system/kube-dns", sticky}
    assert found.residue.left == {}
    assert in_mode(raised, "iptables")
    assert result.seconds < 180


@pytest.mark.timeout(300)
def test_a_migration_that_is_cut_off_says_what_mends_the_lab(raised: Raised) -> None:
    raised.lab.named("proxy-mode", "iptables").assert_success()
    arguments = ("migrate-check", "--name", raised.lab.name, "iptables", "nftables", "-k", "service_range")
    result = raised.lab.interrupted(*arguments, after=f"Switching {raised.lab.name} to nftables")
    result.assert_exit(130)
    assert "The switch to nftables was cut off" in result.stderr
    (mends,) = re.findall(r"again: lab (.*)", result.stderr)
    raised.lab.run(*mends.split()).assert_success()
    assert in_mode(raised, "iptables")
    assert verified(raised.lab)["agree"]
