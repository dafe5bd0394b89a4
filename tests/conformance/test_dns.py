"""DNS: a pod finds Services by each of their names, and both CoreDNS replicas know them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from lightkube.resources.core_v1 import Pod

from . import ask_dns
from .cluster import Cluster
from .nodes import Node
from .own import start_pod
from .subject import Lab
from .workload import Exposed

NAMES = ("mytest-svc", "mytest-svc.default", "mytest-svc.default.svc", "mytest-svc.default.svc.cluster.local")
ASKED = (NAMES[0], NAMES[-1])
"""What busybox' nslookup can find: it asks for a name with a dot in it only as it stands, never along the
search path (networking/nslookup.c, add_query_with_search)."""
MARK = "--8<-- look-up"


@pytest.fixture(scope="module")
def busybox(cluster: Cluster) -> Iterator[tuple[str, str]]:
    """A busybox pod in namespace default, where the short names mean mytest-svc."""
    namespace, name = start_pod(cluster, "default", "busybox")
    yield namespace, name
    cluster.remove(Pod, name, namespace=namespace)


def in_turn(cluster: Cluster, pod: tuple[str, str], commands: list[str]) -> dict[str, str]:
    """Several commands in one exec: command to what it printed."""
    script = "\n".join(f"echo '{MARK}'; {command} 2>&1" for command in commands)
    _, *outputs = cluster.execute(*pod, ["sh", "-c", script]).split(f"{MARK}\n")
    return dict(zip(commands, outputs, strict=True))


def addresses(nslookup: str) -> set[str]:
    """The addresses that busybox' nslookup found, without the server's own."""
    _, _, answer = nslookup.partition("\n\n")
    return set(re.findall(r"^Address(?: \d+)?:\s+([0-9.]+)(?!\S)", answer, re.MULTILINE))


def test_nslookup_finds_the_short_and_the_full_name(
    cluster: Cluster, busybox: tuple[str, str], default_mytest: Exposed
) -> None:
    found = in_turn(cluster, busybox, [f"nslookup -type=a {name}" for name in ASKED])
    for command, said in found.items():
        assert addresses(said) == {default_mytest.cluster_ip}, f"{command}: {said}"


def test_wget_reaches_every_name(cluster: Cluster, busybox: tuple[str, str], default_mytest: Exposed) -> None:
    # Not wget's own -T: Debian's busybox crashes with it (1.35, signal SIGSEGV), whatever the address.
    found = in_turn(cluster, busybox, [f"timeout 5 wget -q -O - http://{name}" for name in NAMES])
    pods = default_mytest.workload.pods()
    for command, said in found.items():
        assert any(f"Running on: {pod} |" in said for pod in pods), f"{command}: {said}"


def test_kubernetes_is_found(cluster: Cluster, busybox: tuple[str, str]) -> None:
    (port,) = cluster.ports_of("default", "kubernetes")
    names = ("kubernetes", "kubernetes.default.svc.cluster.local")
    for command, said in in_turn(cluster, busybox, [f"nslookup -type=a {name}" for name in names]).items():
        assert addresses(said) == {port.cluster_ip}, f"{command}: {said}"


def test_search_path_leads_from_another_namespace(
    cluster: Cluster, tools_pod: tuple[str, str], default_mytest: Exposed
) -> None:
    """dig with the pod's own search path; a short name means a Service of the pod's own namespace."""
    (kubernetes,) = cluster.ports_of("default", "kubernetes")
    wanted = dict.fromkeys(NAMES[1:], default_mytest.cluster_ip)
    wanted["kubernetes.default"] = kubernetes.cluster_ip
    found = in_turn(cluster, tools_pod, [f"dig +search +short {name} A" for name in wanted])
    assert list(found.values()) == [f"{address}\n" for address in wanted.values()], found
    (said,) = in_turn(
        cluster, tools_pod, [f"dig +search +short {NAMES[0]}.{tools_pod[0]}.svc.cluster.local A"]
    ).values()
    assert said == "", f"no Service of that name is in {tools_pod[0]}: {said}"


def test_name_that_is_no_service_is_not_found(cluster: Cluster, busybox: tuple[str, str]) -> None:
    (said,) = in_turn(cluster, busybox, ["nslookup -type=a no-such-svc.default.svc.cluster.local"]).values()
    assert "NXDOMAIN" in said or "can't find" in said, said
    assert not addresses(said), said


def test_each_coredns_replica_answers(
    cluster: Cluster, busybox: tuple[str, str], default_mytest: Exposed
) -> None:
    replicas = cluster.pods("kube-system", {"k8s-app": "kube-dns"})
    assert len(replicas) == 2, replicas
    commands = {ip: f"nslookup -type=a {NAMES[-1]} {ip}" for ip in replicas.values()}
    found = in_turn(cluster, busybox, list(commands.values()))
    for name, ip in replicas.items():
        said = found[commands[ip]]
        assert addresses(said) == {default_mytest.cluster_ip}, f"{name} at {ip}: {said}"


def test_node_asks_the_service_and_each_replica(
    node: Node, cluster: Cluster, lab: Lab, default_mytest: Exposed
) -> None:
    """Over UDP and TCP: the DNS Service is a Service too, and every node reaches each replica."""
    servers = [
        str(lab.config.kubernetes.cluster_dns),
        *cluster.pods("kube-system", {"k8s-app": "kube-dns"}).values(),
    ]
    script = shlex.quote(Path(ask_dns.__file__).read_text())
    said = node.run(f"python3 -c {script} {' '.join(servers)} {NAMES[-1]}", timeout=60).splitlines()
    address = default_mytest.cluster_ip
    assert said == [f"{server} {protocol} {address}" for server in servers for protocol in ("UDP", "TCP")], (
        f"{node.name}: {said}"
    )
