"""The readers on what kube-proxy really programmed: rules == slices, field by field."""

from __future__ import annotations

from fractions import Fraction

import pytest
from proxy_dumps import expected, outputs

from lab import proxy
from lab.proxy import Backend, Frontend, Kind, Masquerade, Refusal
from lab.proxy.compare import compare
from lab.proxy.residue import residue

LOCAL = (Backend("10.244.1.2", 8080, Fraction(1, 2)), Backend("10.244.1.3", 8080, Fraction(1, 2)))
THREE = tuple(Backend(ip, 8080, Fraction(1, 3)) for ip in ("10.244.1.2", "10.244.1.3", "10.244.2.2"))
RUN = {"iptables": "switched/iptables", "ipvs": "rich/ipvs", "nftables": "rich/nftables"}
RUNS = [*RUN.items(), ("iptables", "switched/iptables-after-ipvs")]


@pytest.mark.parametrize(("mode", "run"), RUNS)
def test_rules_equal_the_slices(mode: str, run: str) -> None:
    found = compare(expected(mode, run), proxy.read(mode, outputs(run)), node="node01")
    assert not found, "\n".join(map(str, found))


def test_iptables_says_everything() -> None:
    rules = proxy.read("iptables", outputs("switched/iptables"))
    node_port = rules.services[Frontend("192.168.1.201", 30000, "TCP")]
    assert (node_port.service, node_port.kind) == ("default/mytest-svc", Kind.NODEPORT)
    assert node_port.backends == THREE
    assert node_port.masquerade is Masquerade.ALWAYS
    assert node_port.hairpin_masquerade
    assert len(node_port.raw) == 3 + 3 + 1 + 6  # NODEPORTS, EXT 2; SVC 4 (masquerade, three); SEP 2 each
    assert rules.node_port_addresses == ("10.244.1.0", "10.244.1.1", "127.0.0.1", "192.168.1.201")
    assert rules.health_check_ports == {32001, 32002, 32003, 32004}
    assert rules.local_pods == "10.244.0.0/16"


@pytest.mark.parametrize("mode", ["iptables", "nftables"])
def test_policy_local_keeps_insiders_apart(mode: str) -> None:
    services = proxy.read(mode, outputs(RUN[mode])).services
    here = services[Frontend("192.168.1.240", 80, "TCP")]
    assert (here.policy, here.backends, here.inside_backends) == ("Local", LOCAL, THREE)
    assert here.masquerade is Masquerade.NODE
    away = services[Frontend("192.168.1.201", 30006, "TCP")]
    assert (away.refusal, away.backends) == (Refusal.DROP, ())
    assert [backend.ip for backend in away.inside_backends or ()] == ["10.244.2.7"]
    nowhere = services[Frontend("192.168.1.201", 30007, "TCP")]
    assert (nowhere.refusal, nowhere.inside_backends) == (Refusal.REJECT, None)


@pytest.mark.parametrize("mode", ["iptables", "nftables", "ipvs"])
def test_affinity_ranges_and_refusals(mode: str) -> None:
    services = proxy.read(mode, outputs(RUN[mode])).services
    assert services[Frontend("192.168.1.201", 30001, "TCP")].affinity == 300
    assert services[Frontend("192.168.1.201", 30000, "TCP")].affinity is None
    assert services[Frontend("192.168.1.242", 80, "TCP")].source_ranges is not None
    assert services[Frontend("192.168.1.201", 30004, "TCP")].refusal is Refusal.REJECT
    assert services[Frontend("192.168.1.201", 30002, "UDP")].backends == THREE
    assert services[Frontend("192.168.1.201", 30003, "SCTP")].backends == THREE


def test_nftables_by_default_serves_the_primary_address() -> None:
    assert proxy.read("nftables", outputs("rich/nftables")).node_port_addresses == ("192.168.1.201",)


def test_nftables_on_every_address_differs_only_in_that() -> None:
    seen = proxy.read("nftables", outputs("switched/nftables-all-addresses"))
    assert seen.node_port_addresses == ("10.244.1.0", "10.244.1.1", "192.168.1.201")
    found = compare(expected("nftables", "switched/nftables-all-addresses"), seen, node="node01")
    assert {difference.layer for difference in found} == {"frontend"}
    assert {difference.frontend.ip for difference in found if difference.frontend} == {
        "10.244.1.0",
        "10.244.1.1",
    }


def test_ipvs_has_what_only_ipvs_has() -> None:
    rules = proxy.read("ipvs", outputs("rich/ipvs"))
    assert "10.96.0.1" in rules.bound_addresses
    assert {seen.scheduler for seen in rules.services.values()} == {"rr"}
    ranged = rules.services[Frontend("192.168.1.242", 80, "TCP")]
    assert (ranged.kind, ranged.blocks_node) == (Kind.LOADBALANCER, True)
    assert not rules.services[Frontend("192.168.1.243", 80, "TCP")].blocks_node
    assert "127.0.0.1" not in rules.node_port_addresses


def test_ipvs_not_finished_is_differences_and_no_error() -> None:
    """A dump from the middle of kube-proxy's first round, so that a caller may poll."""
    rules = proxy.read("ipvs", outputs("switched/ipvs-unfinished"))
    assert "nat KUBE-MARK-MASQ does not mark connections for masquerading" in rules.faults
    assert any("none of kube-proxy's ipsets" in fault for fault in rules.faults)
    assert compare(expected("ipvs", "switched/ipvs-unfinished"), rules)


OPTIONS = [
    ("iptables", "iptables-options", {"masquerade", "local_pods", "frontend"}),
    ("iptables", "iptables-addresses", {"local_pods", "frontend"}),
    ("nftables", "nftables-options", {"local_pods", "frontend", "backends"}),
    ("nftables", "nftables-masquerade-all", {"masquerade"}),
    ("ipvs", "ipvs-mh", {"local_pods", "scheduler"}),
    ("ipvs", "ipvs-masquerade-all", {"masquerade", "scheduler", "frontend"}),
]


@pytest.mark.parametrize(("mode", "run", "layers"), OPTIONS)
def test_options_of_kube_proxy_show(mode: str, run: str, layers: set[str]) -> None:
    """Everything is recognised, and what an option changes is all that differs from the default."""
    found = compare(expected(mode, f"rich/{run}"), proxy.read(mode, outputs(f"rich/{run}")))
    assert {difference.layer for difference in found} == layers, "\n".join(map(str, found))


def test_service_is_found_by_name() -> None:
    rules = proxy.read("iptables", outputs("switched/iptables"))
    assert set(rules.of_service("rich/both:udp", Kind.NODEPORT)) == {
        Frontend(ip, 30002, "UDP") for ip in rules.node_port_addresses
    }


@pytest.mark.parametrize("mode", ["iptables", "nftables", "ipvs"])
def test_a_clean_node_has_no_residue(mode: str) -> None:
    run = "switched/nftables-all-addresses" if mode == "nftables" else RUN[mode]
    assert residue(mode, outputs(run)) == []
