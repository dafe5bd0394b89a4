"""Each node is what was asked for: versions, runtime, proxy mode, kernel settings, ports, addresses."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from .cluster import Cluster
from .declared import SYSCTLS
from .nodes import Node, on_each
from .subject import PROXY_MODE, Lab, Subject

own_lab = pytest.mark.own_lab
SERVES = {
    "kubelet": ("*", 10250),
    "kubelet healthz": ("127.0.0.1", 10248),
    "kube-proxy healthz": ("*", 10256),
    "kube-proxy metrics": ("127.0.0.1", 10249),
}
SERVES_ON_MASTER = {"kube-apiserver": ("*", 6443), "etcd": ("127.0.0.1", 2379)}


@pytest.fixture(scope="module")
def facts(nodes: tuple[Node, ...], mode: str) -> dict[str, dict[str, str]]:
    """Everything these tests read of a node, in one round trip each: node to label to text."""
    sysctls = [*SYSCTLS["all"], *SYSCTLS[mode]]
    scripts = {
        "sysctl": f"sysctl {' '.join(sysctls)}",
        "ports": "ss -Hltn",
        "runtime": "containerd --version",
        "kubelet": "kubelet --version",
        "units": "systemctl is-active containerd kubelet",
        "mode": PROXY_MODE,
        "healthz": "curl -sS -m 5 -o /dev/null -w '%{http_code}' http://127.0.0.1:10256/healthz",
        "addresses": "ip -br -4 address show scope global",
        "route": "ip -4 route show default",
    }
    return on_each(nodes, lambda node: node.run_all(scripts))


@pytest.mark.behaviour("node-versions")
@own_lab
def test_is_ready_with_the_version_asked_for(node: Node, cluster: Cluster, version: str) -> None:
    said = cluster.kubernetes_nodes()[node.name].status
    assert said is not None
    assert said.nodeInfo is not None
    ready = {condition.type: condition.status for condition in said.conditions or []}
    assert ready["Ready"] == "True", f"{node.name}: {ready}"
    assert said.nodeInfo.kubeletVersion == f"v{version}"


@pytest.mark.behaviour("node-versions")
@own_lab
def test_kubelet_is_the_version_asked_for(node: Node, facts: dict[str, dict[str, str]], version: str) -> None:
    assert facts[node.name]["kubelet"].strip() == f"Kubernetes v{version}"


@pytest.mark.behaviour("node-versions")
@own_lab
def test_runtime_is_the_containerd_installed(
    node: Node, cluster: Cluster, facts: dict[str, dict[str, str]]
) -> None:
    said = cluster.kubernetes_nodes()[node.name].status
    assert said is not None
    assert said.nodeInfo is not None
    kind, _, runtime = said.nodeInfo.containerRuntimeVersion.partition("://")
    assert kind == "containerd"
    assert runtime.removeprefix("v") in facts[node.name]["runtime"]
    assert facts[node.name]["units"].split() == ["active", "active"]


@pytest.mark.behaviour("node-proxy-mode")
@own_lab
def test_proxy_mode_is_the_one_asked_for(node: Node, lab: Lab, facts: dict[str, dict[str, str]]) -> None:
    assert facts[node.name]["mode"].strip() == lab.config.proxy.mode, (
        f"{node.name}: kube-proxy serves by another mode than the lab's configuration asks for"
    )
    assert facts[node.name]["healthz"].strip() == "200", f"{node.name}: kube-proxy is not healthy"


@pytest.mark.behaviour("node-kernel-settings")
def test_kernel_settings(node: Node, subject: Subject, mode: str, facts: dict[str, dict[str, str]]) -> None:
    seen = dict(line.split(" = ", 1) for line in facts[node.name]["sysctl"].splitlines() if " = " in line)
    localhost = subject.machine(node.name).settings.localhost_node_ports
    wanted = SYSCTLS["all"] | (SYSCTLS[mode] if localhost or mode != "iptables" else {})
    assert {key: seen.get(key) for key in wanted} == wanted, f"{node.name}: {facts[node.name]['sysctl']}"


@pytest.mark.behaviour("node-ports")
@own_lab
def test_listens_where_it_should(node: Node, lab: Lab, facts: dict[str, dict[str, str]]) -> None:
    open_ports: dict[int, set[str]] = {}
    for line in facts[node.name]["ports"].splitlines():
        address, _, port = line.split()[3].rpartition(":")
        open_ports.setdefault(int(port), set()).add(address.strip("[]").replace("::ffff:", ""))
    is_master = node.name == lab.config.master.name
    for what, (address, number) in (SERVES | (SERVES_ON_MASTER if is_master else {})).items():
        at = open_ports.get(number, set())
        fine = bool(at & {"*", "0.0.0.0", "::"}) or address in at
        assert fine, f"{node.name}: {what} does not listen on {address}:{number}, only on {sorted(at)}"
    if not is_master:
        assert 6443 not in open_ports, f"{node.name}: an API server listens on a node that is no master"


@pytest.mark.behaviour("node-addresses")
@own_lab
def test_internal_ip_is_its_own_address_of_the_lab(
    node: Node, lab: Lab, facts: dict[str, dict[str, str]]
) -> None:
    assert f" {node.address}/{lab.config.network.subnet.prefixlen}" in facts[node.name]["addresses"]
    assert facts[node.name]["route"].strip(), (
        f"{node.name} has no default route: no ClusterIP is reachable from it (no way is found before DNAT)"
    )


@pytest.mark.behaviour("node-addresses")
@own_lab
def test_internal_ips_are_distinct_and_those_of_the_configuration(cluster: Cluster, lab: Lab) -> None:
    seen = {
        name: [
            address.address
            for address in (node.status and node.status.addresses) or []
            if address.type == "InternalIP"
        ]
        for name, node in cluster.kubernetes_nodes().items()
    }
    assert seen == {node.name: [str(node.address)] for node in lab.config.nodes}


@pytest.mark.behaviour("node-addresses")
@own_lab
def test_pod_ranges_are_distinct_and_within_the_pod_cidr(cluster: Cluster, lab: Lab) -> None:
    ranges = {
        name: node.spec.podCIDR if node.spec else None for name, node in cluster.kubernetes_nodes().items()
    }
    assert len(set(ranges.values())) == len(lab.config.nodes), ranges
    for name, given in ranges.items():
        assert given, f"{name} has no pod range"
        assert ip_address(given.partition("/")[0]) in lab.config.kubernetes.pod_cidr, ranges


@pytest.mark.behaviour("dns-replicas")
@own_lab
def test_cluster_dns_has_two_of_two(cluster: Cluster) -> None:
    status = cluster.deployment("kube-system", "coredns").status
    assert status is not None
    assert (status.replicas, status.readyReplicas) == (2, 2)
