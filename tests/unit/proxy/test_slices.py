"""What should be, where hand-made objects say more than the captured cluster does."""

from __future__ import annotations

from typing import Any

import pytest

from lab.proxy import Frontend, Kind, Masquerade, Refusal, ServiceRules
from lab.proxy.endpoints import Candidate, candidates, usable
from lab.proxy.slices import Node, expect

Json = dict[str, Any]
NODE = Node(
    name="node01",
    address="192.168.1.201",
    addresses=("127.0.0.1", "192.168.1.201"),
    pod_cidr="10.244.0.0/16",
)


def service(**spec: Any) -> Json:
    ports = [{"port": 80, "protocol": "TCP"}]
    return {
        "metadata": {"namespace": "n", "name": "s"},
        "spec": {"clusterIPs": ["10.96.0.9"], "ports": ports, **spec},
    }


def piece(*endpoints: Json, **more: Any) -> Json:
    labels = {"kubernetes.io/service-name": "s"}
    return {
        "metadata": {"namespace": "n", "name": "s-1", "labels": labels},
        "addressType": "IPv4",
        "ports": [{"name": "", "port": 8080, "protocol": "TCP"}],
        "endpoints": list(endpoints),
        **more,
    }


def end(ip: str, node: str = "node02", **conditions: bool) -> Json:
    return {"addresses": [ip], "nodeName": node, "conditions": conditions}


def cluster_ip(mode: str, wanted: Json, *pieces: Json) -> ServiceRules:
    return expect(mode, [wanted], pieces, NODE).services[Frontend("10.96.0.9", 80, "TCP")]


@pytest.mark.parametrize("mode", ["iptables", "ipvs", "nftables"])
def test_no_slice_at_all_is_refused(mode: str) -> None:
    found = cluster_ip(mode, service())
    assert (found.refusal, found.backends, found.kind) == (Refusal.REJECT, (), Kind.CLUSTER)


@pytest.mark.parametrize(
    "spec",
    [
        {"clusterIPs": ["None"]},
        {"clusterIPs": [], "clusterIP": ""},
        {"type": "ExternalName", "clusterIPs": []},
        {"clusterIPs": ["fd00::9"]},
    ],
)
def test_services_without_an_ipv4_address(spec: Json) -> None:
    assert expect("iptables", [service(**spec)], [], NODE).services == {}


def test_services_and_slices_of_another_proxy() -> None:
    label = {"service.kubernetes.io/service-proxy-name": "other"}
    theirs = service()
    theirs["metadata"]["labels"] = label
    assert expect("iptables", [theirs], [], NODE).services == {}
    slice_ = piece(end("10.244.2.2"))
    slice_["metadata"]["labels"] |= label
    assert candidates([slice_], "node01") == {}


def test_unnamed_conditions_mean_ready() -> None:
    nothing_said = {"addresses": ["10.244.2.2"]}
    found = cluster_ip("iptables", service(), piece(nothing_said))
    assert found.endpoints == {("10.244.2.2", 8080)}


def test_a_new_pod_with_a_terminating_pods_address() -> None:
    old = end("10.244.2.2", ready=False, serving=True, terminating=True)
    new = end("10.244.2.2", ready=True)
    for order in ((old, new), (new, old)):
        (found,) = candidates([piece(*order)], "node01").values()
        assert found["10.244.2.2", 8080].ready


def test_a_slice_with_nothing_in_it() -> None:
    assert candidates([piece(ports=None, endpoints=None)], "node01") == {}
    assert candidates([piece(addressType="IPv6")], "node01") == {}
    assert candidates([piece(metadata={"namespace": "n", "name": "s"})], "node01") == {}


def test_a_list_object_and_a_series_are_alike() -> None:
    slices = [piece(end("10.244.2.2"))]
    assert expect("ipvs", {"items": [service()]}, {"items": slices}, NODE) == expect(
        "ipvs", [service()], slices, NODE
    )


def test_without_a_pod_cidr_nobody_is_outside() -> None:
    bare = Node(name="node01", address="192.168.1.201", addresses=NODE.addresses, pod_cidr=None)
    for mode, masquerade in (("iptables", Masquerade.NEVER), ("ipvs", Masquerade.NODE)):
        rules = expect(mode, [service()], [piece(end("10.244.2.2"))], bare)
        assert rules.services[Frontend("10.96.0.9", 80, "TCP")].masquerade is masquerade
        assert rules.local_pods is None


@pytest.mark.parametrize(
    ("mode", "ips"),
    [
        ("iptables", {"127.0.0.1", "192.168.1.201"}),
        ("ipvs", {"192.168.1.201"}),
        ("nftables", {"192.168.1.201"}),
    ],
)
def test_where_node_ports_are_served(mode: str, ips: set[str]) -> None:
    wanted = service(type="NodePort", ports=[{"port": 80, "protocol": "TCP", "nodePort": 30000}])
    rules = expect(mode, [wanted], [piece(end("10.244.2.2"))], NODE)
    assert {front.ip for front in rules.services if front.port == 30000} == ips
    assert set(rules.node_port_addresses) == ips


def test_a_source_range_of_everything_is_none() -> None:
    status = {
        "loadBalancer": {
            "ingress": [{"ip": "192.168.1.240"}, {"hostname": "x"}, {"ip": "192.0.2.1", "ipMode": "Proxy"}]
        }
    }
    wanted = service(type="LoadBalancer", loadBalancerSourceRanges=["10.0.0.0/8", "0.0.0.0/0"])
    rules = expect("iptables", [{**wanted, "status": status}], [piece(end("10.244.2.2"))], NODE)
    assert rules.services[Frontend("192.168.1.240", 80, "TCP")].source_ranges is None
    assert Frontend("192.0.2.1", 80, "TCP") not in rules.services


def one(ip: str, **more: Any) -> Candidate:
    known: Json = {"local": False, "ready": True, "serving": True, "terminating": False, **more}
    return Candidate(endpoint=(ip, 8080), **known)


def ips(found: frozenset[tuple[str, int]]) -> set[str]:
    return {ip for ip, _ in found}


def test_hints_count_only_if_every_endpoint_has_one() -> None:
    here, there = one("a", zones=frozenset({"z1"})), one("b", zones=frozenset({"z2"}))
    assert ips(usable([here, there], cluster=True, local=False, node="n", zone="z1").cluster) == {"a"}
    assert ips(usable([here, there], cluster=True, local=False, node="n", zone="z3").cluster) == {"a", "b"}
    assert ips(usable([here, there], cluster=True, local=False, node="n").cluster) == {"a", "b"}
    assert ips(usable([here, one("b")], cluster=True, local=False, node="n", zone="z1").cluster) == {"a", "b"}


def test_same_node_goes_before_same_zone() -> None:
    both = {"zones": frozenset({"z1"})}
    ends = [one("a", nodes=frozenset({"n"}), **both), one("b", nodes=frozenset({"m"}), **both)]
    assert ips(usable(ends, cluster=True, local=False, node="n", zone="z1").cluster) == {"a"}
    assert ips(usable(ends, cluster=True, local=False, node="x", zone="z1").cluster) == {"a", "b"}


def test_policies_fall_back_to_terminating_each_by_itself() -> None:
    leaving = one("a", local=True, ready=False, terminating=True)
    found = usable([leaving, one("b")], cluster=True, local=True, node="n")
    assert (ips(found.cluster), ips(found.local), found.anywhere) == ({"b"}, {"a"}, True)
    alone = usable([leaving], cluster=True, local=True, node="n")
    assert (ips(alone.cluster), ips(alone.local)) == ({"a"}, {"a"})
    dead = usable([one("a", ready=False, serving=False)], cluster=True, local=True, node="n")
    assert (dead.cluster, dead.local, dead.anywhere) == (frozenset(), frozenset(), False)
