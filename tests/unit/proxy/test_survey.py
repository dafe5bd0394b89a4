"""What a cluster says of itself, out of the answers of kubeadm's, a managed and a half-closed one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fake_reach import ADDRESSES, FakeReach, replaced

from lab.errors import BringUpError, InputError, LabError
from lab.reach.base import Object
from lab.reach.given import Given
from lab.reach.survey import DNS, KUBEADM, SERVICE_CIDRS, ipv4, release, survey

KUBEADM_SAYS = """
networking:
  dnsDomain: cluster.local
  podSubnet: 10.244.0.0/16
  serviceSubnet: 10.96.0.0/12
"""


class Answering(FakeReach):
    """A cluster whose API answers what is in `answers`, and refuses all else but what every API has."""

    def __init__(self, mode: str = "iptables") -> None:
        super().__init__(mode)
        self.answers: dict[str, Object] = {"/version": {"gitVersion": "v1.37.2"}, DNS: {"items": []}}

    def get(self, path: str) -> Object:
        if path in self.answers:
            return self.answers[path]
        if path in (KUBEADM, SERVICE_CIDRS):
            raise BringUpError("The cluster's API does not answer.")
        return super().get(path)


@pytest.fixture
def reach() -> Answering:
    return Answering()


def cidrs(*networks: str, name: str = "kubernetes") -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"cidrs": list(networks)}}


def test_all_that_kubeadm_says(reach: Answering) -> None:
    reach.answers |= {
        KUBEADM: {"data": {"ClusterConfiguration": KUBEADM_SAYS}},
        SERVICE_CIDRS: {"items": [cidrs("10.200.0.0/24", name="more"), cidrs("10.96.0.0/12")]},
        DNS: {"items": [{"spec": {"clusterIP": "10.96.0.10"}}]},
    }
    found = survey(reach, "theirs")
    assert (found.name, found.kubernetes, found.mode) == ("theirs", "1.37.2", "iptables")
    assert {node.name: node.address for node in found.nodes} == ADDRESSES
    assert [node.control_plane for node in found.nodes] == [True, False, False]
    assert (found.pod_cidr, found.service_cidr, found.cluster_dns) == (
        "10.244.0.0/16",
        "10.96.0.0/12",
        "10.96.0.10",
    )


def test_what_it_does_not_say_is_none_and_what_kube_proxy_knows_is_taken(reach: Answering) -> None:
    found = survey(reach, "theirs")
    assert (found.service_cidr, found.cluster_dns) == (None, None)
    assert found.pod_cidr == "10.244.0.0/16"


def test_pods_that_are_told_by_a_bridge_have_no_known_network(reach: Answering) -> None:
    change = replaced("configz", '"detectLocalMode": ""', '"detectLocalMode": "BridgeInterface"')
    reach.changes = {name: [change] for name in ADDRESSES}
    found = survey(reach, "theirs")
    assert found.pod_cidr is None
    assert {node.settings.pods for node in found.nodes} == {"iifname "}


def test_an_older_cluster_has_its_service_range_from_kubeadm(reach: Answering) -> None:
    reach.answers[KUBEADM] = {"data": {"ClusterConfiguration": KUBEADM_SAYS}}
    assert survey(reach, "theirs").service_cidr == "10.96.0.0/12"


@pytest.mark.parametrize("text", ["[]", "networking: 1", "{", ""])
def test_a_configuration_that_is_none_is_passed_over(reach: Answering, text: str) -> None:
    reach.answers[KUBEADM] = {"data": {"ClusterConfiguration": text}}
    assert survey(reach, "theirs").service_cidr is None


def test_control_plane_first_and_its_versions(reach: Answering) -> None:
    info = {"kernelVersion": "6.1.0", "containerRuntimeVersion": "containerd://2.0.5"}
    for node in reach.lists["nodes"]:
        node["metadata"]["labels"] = {}
        node["status"]["nodeInfo"] = info
    reach.lists["nodes"][2]["metadata"]["labels"] = {
        "node-role.kubernetes.io/control-plane": "",
        "topology.kubernetes.io/zone": "a",
    }
    found = survey(reach, "theirs")
    assert [node.name for node in found.nodes] == ["node02", "master", "node01"]
    assert [node.zone for node in found.nodes] == ["a", None, None]
    assert found.nodes[0].versions == {"kernel": "6.1.0", "containerd": "2.0.5"}


def test_nodes_of_several_modes_are_named(reach: Answering) -> None:
    reach.changes = {"node02": [replaced("proxy-mode", "iptables", "nftables")]}
    found = survey(reach, "theirs")
    with pytest.raises(LabError, match="node02: nftables"):
        found.mode  # noqa: B018


def test_a_cluster_without_kube_proxy_is_refused(reach: Answering) -> None:
    reach.changes = {name: [replaced("proxy-mode", "iptables", "")] for name in ADDRESSES}
    with pytest.raises(InputError, match="There is no kube-proxy"):
        survey(reach, "theirs")


@pytest.mark.parametrize(
    ("said", "meant"),
    [("v1.37.2", "1.37.2"), ("v1.34.1-eks-113cf36", "1.34.1"), ("v1.35.0+k3s1", "1.35.0"), ("odd", "odd")],
)
def test_a_distributors_version_is_of_a_release(said: str, meant: str) -> None:
    assert release(said) == meant


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("10.0.0.0/8", "10.0.0.0/8"),
        ("fd00::/108, 10.96.0.0/12", "10.96.0.0/12"),
        ("fd00::/108", None),
        ("iifname cni0", None),
        ("", None),
        (None, None),
    ],
)
def test_the_ipv4_network_of_several(said: str | None, meant: str | None) -> None:
    assert ipv4(said) == meant


def test_the_suites_read_what_was_written_for_them(reach: Answering, tmp_path: Path) -> None:
    given = Given(
        survey=survey(reach, "theirs"),
        kubectl=Path("/bin/kubectl"),
        kubeconfig=Path("/theirs"),
        run="kube-service-lab-1",
        until="2026-11-28T12:00:00+00:00",
        pods={"master": "view-1"},
        container="view",
        prepare="PATH=/x:$PATH",
        images={"tools": "example/tools:1"},
        not_outside="",
        disruptive=False,
    )
    file = given.write(tmp_path / "cluster.json")
    assert Given.read(file) == given
    assert file.stat().st_mode & 0o777 == 0o600
