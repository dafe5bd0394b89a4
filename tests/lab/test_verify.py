"""`lab verify` and `lab explain` on a living lab: as its owner, and as a stranger with a kubeconfig alone."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from harness import Lab, MakeLab, can
from lightkube.resources.core_v1 import Namespace
from raised import NODES, Raised, raise_lab

from lab.reach.stranger import PREFIX

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
    names = {space.metadata.name or "" for space in raised.client().list(Namespace) if space.metadata}
    return {name for name in names if name.startswith(PREFIX)}


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
