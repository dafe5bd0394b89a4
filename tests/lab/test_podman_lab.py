"""A lab of systemd containers from beginning to end, in the modes that the host's kernel has."""

from __future__ import annotations

import os
import shutil

import pytest
from harness import MakeLab
from raised import (
    Raised,
    assert_changes_nothing_again,
    assert_node_port_is_forwarded,
    assert_status_tells_the_nodes,
    assert_suites_pass,
    assert_the_users_kubectl_works,
    raise_lab,
)

# In CI, where the test installs what is missing, nothing is skipped.
CAN = os.geteuid() == 0 and (shutil.which("podman") is not None or "CI" in os.environ)

pytestmark = pytest.mark.skipif(not CAN, reason="the podman provider needs podman and root")


@pytest.fixture(scope="module")
def raised(make_lab: MakeLab) -> Raised:
    lab = make_lab("podman")
    lab.run("doctor", "--provider", "podman", "--install", timeout=900).assert_success()
    lab.run("bundle", "build", "--provider", "podman", timeout=1200).assert_success()
    return raise_lab(lab, "provider: podman\n")


@pytest.mark.timeout(2500)
def test_up_again_changes_nothing_and_says_so(raised: Raised) -> None:
    assert_changes_nothing_again(raised)


def test_status_as_json(raised: Raised) -> None:
    assert_status_tells_the_nodes(raised)


def test_the_users_own_kubectl_reaches_the_api_on_loopback(raised: Raised) -> None:
    assert_the_users_kubectl_works(raised)


def test_a_node_port_answers_on_loopback(raised: Raised) -> None:
    assert_node_port_is_forwarded(raised)


@pytest.mark.timeout(1300)
def test_suites_in_every_mode_of_the_hosts_kernel_by_live_switch(raised: Raised) -> None:
    assert_suites_pass(raised, {"iptables", "nftables"}, timeout=1200)
