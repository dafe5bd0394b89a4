"""A lab from beginning to end on each provider, as whoever runs the tests."""

from __future__ import annotations

import base64
import itertools
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness import MakeLab, can
from raised import (
    Raised,
    assert_changes_nothing_again,
    assert_node_port_is_forwarded,
    assert_status_tells_the_nodes,
    assert_suites_pass,
    assert_the_users_kubectl_works,
    boots,
    raise_lab,
)

#: The modes that must be among those of each provider, wherever this runs.
MODES = {"podman": ("iptables", "nftables"), "uml": ("iptables", "ipvs", "nftables")}
PARALLEL = ("-n", "4")
#: What a node's kernel matters to, and the readers of its rules.
KERNELS = ("nodes", "rules", "truth_table", "distribution")
#: On user-mode nodes: the files of each mode (none: all of them), and how many at once. In ipvs mode what is
#: otherwise there too, and fewer at once: kube-proxy itself takes half of the processors.
USER_MODE = {
    "iptables": ((), PARALLEL),
    "ipvs": ((*KERNELS, "traffic_policy", "schedulers"), ("-n", "2", "--disruptive")),
    "nftables": (KERNELS, (*PARALLEL, "--disruptive")),
}
CONFIG = {"podman": "provider: podman\naddons: {metallb: {}}\n", "uml": "provider: uml\n"}


@pytest.fixture(scope="module", params=MODES)
def provider(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    if not can(name):
        pytest.skip("the podman provider needs podman and root")
    return name


@pytest.fixture(scope="module")
def raised(provider: str, make_lab: MakeLab) -> Iterator[Raised]:
    lab = make_lab(provider)
    if os.geteuid() == 0:
        lab.run("doctor", "--provider", provider, "--install", timeout=900).assert_success()
    lab.run("bundle", "build", "--provider", provider, timeout=1200).assert_success()
    yield raise_lab(lab, CONFIG[provider])
    # Before the next one: two labs at once would have to share the processors.
    lab.named("down", timeout=180).assert_success()


@pytest.mark.timeout(2500)
def test_up_prints_where_to_go_next(raised: Raised) -> None:
    said = raised.up.stdout
    assert "192.168.1.200" in said
    assert "kubeconfig: " in said
    assert "lab kubectl " in said
    assert "lab exec " in said
    assert "lab test " in said


def test_up_again_changes_nothing_and_says_so(raised: Raised) -> None:
    assert_changes_nothing_again(raised)


def test_status_as_json(raised: Raised) -> None:
    assert_status_tells_the_nodes(raised)


def test_the_users_own_kubectl_reaches_the_api_on_loopback(raised: Raised) -> None:
    assert_the_users_kubectl_works(raised)


def test_a_node_port_answers_on_loopback(raised: Raised) -> None:
    assert_node_port_is_forwarded(raised)


@pytest.mark.timeout(3000)
def test_suites_in_every_mode_by_live_switch(raised: Raised, provider: str) -> None:
    """All suites in podman's modes and in one of user-mode nodes; in their others what differs there."""
    if provider == "podman":
        assert_suites_pass(raised, "--all-modes", *PARALLEL, modes=MODES[provider], timeout=1500)
        raised.lab.named("test", "-m", "disruptive", timeout=600).assert_success()
        return
    for mode in MODES[provider]:
        raised.lab.named("proxy-mode", mode).assert_success()
        files, options = USER_MODE[mode]
        suites = [f"test_{name}.py" for name in files]
        assert_suites_pass(raised, *suites, *options, modes={mode}, timeout=1200)


def test_nodes_read_nothing_of_what_they_sent(raised: Raised, provider: str) -> None:
    """A kernel takes what it finds on its link and is not for it for another host's."""
    if provider != "uml":
        pytest.skip("only user-mode nodes read their link by a raw socket")
    said = raised.lab.named("exec", "node01", "--", "ip", "-s", "-s", "link", "show", "vec0").assert_success()
    counts: dict[str, int] = {}
    for header, values in itertools.pairwise(said.stdout.splitlines()):
        if header.strip().startswith("RX"):
            counts |= dict(zip(header.partition(":")[2].split(), map(int, values.split()), strict=True))
    assert counts["packets"] > 1000, said.stdout
    # Some are: a bridge that does not know yet where a host is sends its frames everywhere. None: no column.
    assert counts.get("otherhost", 0) < counts["packets"] / 100, said.stdout


def test_a_node_survives_a_thread_that_reads_what_the_kernel_writes(
    raised: Raised, provider: str, tmp_path: Path
) -> None:
    """Without zero-page.patch its kernel writes into the page of zeros, and dies of it within 40 s."""
    if provider != "uml":
        pytest.skip("only user-mode nodes have a kernel of the lab's own")
    if not shutil.which("gcc"):
        pytest.skip("no gcc, which built the kernel where it was built")
    program = tmp_path / "two_threads"
    source = Path(__file__).with_name("two_threads.c")
    subprocess.run(["gcc", "-O1", "-static", "-pthread", "-o", program, source], check=True, timeout=60)
    before = boots(raised.lab)
    script = "d=$(mktemp -d) && base64 -d >$d/run && chmod +x $d/run && $d/run 40; r=$?; rm -r $d; exit $r"
    coded = base64.b64encode(program.read_bytes()).decode()
    said = raised.lab.named("exec", "node02", "--", "sh", "-c", script, stdin=coded, timeout=90)
    assert said.assert_success().stdout.endswith(" 0 wrong\n"), str(said)
    assert boots(raised.lab) == before
