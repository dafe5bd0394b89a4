"""DNS: a pod finds Services by each of their names, and both CoreDNS replicas know them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from lightkube.resources.core_v1 import Pod

from . import ask_dns
from .asking import Answer, ask, full, in_turn
from .cluster import Cluster
from .nodes import Node
from .own import start_pod
from .probing import FromPod
from .subject import Subject
from .workload import Exposed

SUFFIX = ".svc.cluster.local"


def names(service: Exposed) -> tuple[str, ...]:
    """A Service's names for a pod of its own namespace, from the short one to the full one."""
    within = f"{service.name}.{service.namespace}"
    return (service.name, within, f"{within}.svc", f"{within}{SUFFIX}")


def asked(service: Exposed) -> tuple[str, str]:
    """What busybox' nslookup can find: it asks for a name with a dot in it only as it stands, never along the
    search path (networking/nslookup.c, add_query_with_search)."""
    short, *_, full = names(service)
    return short, full


@pytest.fixture(scope="module")
def busybox(cluster: Cluster, default_mytest: Exposed) -> Iterator[FromPod]:
    """A busybox pod in mytest-svc's namespace (`default` in a lab), where the short names mean it."""
    namespace, name = start_pod(cluster, default_mytest.namespace, "busybox")
    yield FromPod(cluster, namespace, name)
    cluster.remove(Pod, name, namespace=namespace)


def addresses(nslookup: str) -> set[str]:
    """The addresses that busybox' nslookup found, without the server's own."""
    _, _, answer = nslookup.partition("\n\n")
    return set(re.findall(r"^Address(?: \d+)?:\s+([0-9.]+)(?!\S)", answer, re.MULTILINE))


@pytest.mark.behaviour("dns-cluster-names")
def test_nslookup_finds_the_short_and_the_full_name(busybox: FromPod, default_mytest: Exposed) -> None:
    found = in_turn(busybox, [f"nslookup -type=a {name}" for name in asked(default_mytest)])
    for command, said in found.items():
        assert addresses(said) == {default_mytest.cluster_ip}, f"{command}: {said}"


@pytest.mark.behaviour("dns-cluster-names")
def test_wget_reaches_every_name(busybox: FromPod, default_mytest: Exposed) -> None:
    # Not wget's own -T: Debian's busybox crashes with it (1.35, signal SIGSEGV), whatever the address.
    found = in_turn(busybox, [f"timeout 5 wget -q -O - http://{name}" for name in names(default_mytest)])
    pods = default_mytest.workload.pods()
    for command, said in found.items():
        assert any(f"Running on: {pod} |" in said for pod in pods), f"{command}: {said}"


@pytest.mark.behaviour("dns-cluster-names")
def test_kubernetes_is_found(cluster: Cluster, busybox: FromPod) -> None:
    (port,) = cluster.ports_of("default", "kubernetes")
    # Its short name means it in its own namespace alone.
    wanted = ["kubernetes"] * (busybox.namespace == port.namespace) + [f"kubernetes.default{SUFFIX}"]
    for command, said in in_turn(busybox, [f"nslookup -type=a {name}" for name in wanted]).items():
        assert addresses(said) == {port.cluster_ip}, f"{command}: {said}"


@pytest.mark.behaviour("dns-partial-names-of-the-cluster")
def test_search_path_leads_from_another_namespace(
    cluster: Cluster, asking_pod: FromPod, default_mytest: Exposed
) -> None:
    """dig with the pod's own search path; a short name means a Service of the pod's own namespace."""
    (kubernetes,) = cluster.ports_of("default", "kubernetes")
    wanted = {name: {default_mytest.cluster_ip} for name in names(default_mytest)[1:]}
    wanted |= {name: {kubernetes.cluster_ip} for name in ("kubernetes.default", "kubernetes.default.svc")}
    own = f"{full(default_mytest.name, asking_pod.namespace)} A"
    found = ask(asking_pod, *(f"{name} A" for name in wanted), own)
    assert {name: found[f"{name} A"].of("A") for name in wanted} == wanted
    assert found[own] == Answer("NXDOMAIN", ()), f"no Service of that name is in {asking_pod.namespace}"


@pytest.mark.behaviour("dns-cluster-names")
def test_name_that_is_no_service_is_not_found(busybox: FromPod) -> None:
    (said,) = in_turn(busybox, ["nslookup -type=a no-such-svc.default.svc.cluster.local"]).values()
    assert "NXDOMAIN" in said or "can't find" in said, said
    assert not addresses(said), said


@pytest.mark.behaviour("dns-cluster-names")
def test_each_coredns_replica_answers(cluster: Cluster, busybox: FromPod, default_mytest: Exposed) -> None:
    replicas = cluster.pods("kube-system", {"k8s-app": "kube-dns"})
    assert replicas, "no pod in kube-system has the label k8s-app=kube-dns"
    commands = {ip: f"nslookup -type=a {names(default_mytest)[-1]} {ip}" for ip in replicas.values()}
    found = in_turn(busybox, list(commands.values()))
    for name, ip in replicas.items():
        said = found[commands[ip]]
        assert addresses(said) == {default_mytest.cluster_ip}, f"{name} at {ip}: {said}"


@pytest.mark.behaviour("dns-cluster-names")
def test_node_asks_the_service_and_each_replica(
    node: Node, cluster: Cluster, subject: Subject, default_mytest: Exposed
) -> None:
    """Over UDP and TCP: the DNS Service is a Service too, and every node reaches each replica."""
    servers = [
        subject.known("cluster_dns"),
        *cluster.pods("kube-system", {"k8s-app": "kube-dns"}).values(),
    ]
    script = shlex.quote(Path(ask_dns.__file__).read_text())
    if node.run("command -v python3", check=False) == "":
        pytest.skip(f"{node.name} has no Python to ask with")
    said = node.run(
        f"python3 -c {script} {' '.join(servers)} {names(default_mytest)[-1]}", timeout=60
    ).splitlines()
    address = default_mytest.cluster_ip
    assert said == [f"{server} {protocol} {address}" for server in servers for protocol in ("UDP", "TCP")], (
        f"{node.name}: {said}"
    )
