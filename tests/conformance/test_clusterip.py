"""ClusterIP: the Service answers on its virtual IP from every node and from a pod, by the pods it selects."""

from __future__ import annotations

import re
import secrets
from ipaddress import ip_address, ip_network

import pytest
from lightkube.resources.core_v1 import Endpoints

from .cluster import Cluster
from .declared import declared
from .nodes import Node
from .probing import DROPPED, TOLD, Client, FromNode, FromPod
from .rulebook import Rulebook
from .subject import Subject
from .waiting import wait_until
from .workload import POD_START, TARGET_PORT, Exposed, mytest_pod, service_manifest

GREETING = re.compile(r"Hello Kubernetes bootcamp! \| Running on: (\S+) \| v=1")


@pytest.mark.behaviour("service-endpoints")
def test_endpoints_are_the_pods(cluster: Cluster, default_mytest: Exposed) -> None:
    (port,) = cluster.ports_of(default_mytest.namespace, default_mytest.name)
    pods = default_mytest.workload.pods()
    assert len(pods) == 3
    assert (port.number, port.protocol) == (80, "TCP")
    assert cluster.endpoints_of(port) == {(ip, TARGET_PORT) for ip in pods.values()}


@pytest.mark.behaviour("clusterip-of-the-range")
def test_virtual_ip_is_of_the_service_range(default_mytest: Exposed, subject: Subject) -> None:
    assert ip_address(default_mytest.cluster_ip) in ip_network(subject.known("service_cidr"))


@pytest.mark.behaviour("clusterip-answers")
def test_curl_is_greeted(node: Node, default_mytest: Exposed) -> None:
    said = node.run(f"curl -sS -m 5 {default_mytest.url}")
    found = GREETING.fullmatch(said.strip())
    assert found, f"{node.name}: {said!r}"
    assert found[1] in default_mytest.workload.pods()


@pytest.mark.behaviour("clusterip-answers")
def test_answers(inside: Client, default_mytest: Exposed) -> None:
    (outcome,) = inside.probe(default_mytest.url, count=30)
    outcome.assert_all_answered(by=set(default_mytest.workload.pods()))


@pytest.mark.behaviour("clusterip-answers-udp")
def test_answers_over_udp(inside: Client, cluster: Cluster, mytest: Exposed, rulebook: Rulebook) -> None:
    manifest = mytest.manifest()
    manifest["spec"]["ports"][0]["protocol"] = "UDP"
    cluster.apply({**manifest, "metadata": {"name": f"{mytest.name}-udp", "namespace": mytest.namespace}})
    (port,) = cluster.ports_of(mytest.namespace, f"{mytest.name}-udp")
    target = f"{port.cluster_ip}:{port.number}"
    mytest.workload.settle(service=f"{mytest.name}-udp")
    rulebook.settle()
    (outcome,) = inside.probe(target, count=30, udp=True)
    outcome.assert_all_answered(by=set(mytest.workload.pods()))


@pytest.mark.behaviour("kubernetes-service")
def test_kubernetes_answers_on_443(inside: Client, cluster: Cluster, subject: Subject) -> None:
    """`kubernetes.default`: upstream's "should provide secure master service"."""
    (port,) = cluster.ports_of("default", "kubernetes")
    assert port.number == 443
    served = cluster.endpoints("default", "kubernetes", port="https")
    assert served == (subject.api_servers or served) != set()
    endpoints = cluster.api.get(Endpoints, "kubernetes", namespace="default")
    assert {
        (address.ip, number.port)
        for part in endpoints.subsets or ()
        for address in part.addresses or ()
        for number in part.ports or ()
    } == served
    url = f"https://{port.cluster_ip}:443/readyz"
    assert inside.run(f"curl -sSk -m 10 {url}", timeout=15).strip() == "ok", f"{inside.name}: {url}"


@pytest.mark.behaviour("clusterip-wrong-port")
def test_other_port_is_not_served(node: Node, mode: str, version: str, default_mytest: Exposed) -> None:
    entry = declared("clusterip-wrong-port", mode=mode, version=version)
    kind = "refused" if entry.expected == "refused" else None
    url = f"http://{default_mytest.cluster_ip}:81"
    (outcome,) = FromNode(node).probe(url, count=2, timeout=TOLD if kind else DROPPED)
    outcome.assert_none_answered(kind=kind)


@pytest.mark.behaviour("hairpin")
def test_pod_reaches_itself_through_its_service(cluster: Cluster, namespace: str, rulebook: Rulebook) -> None:
    """Hairpin: the answer has to come back through the node, so its source is masqueraded."""
    name = f"hairpin-{secrets.token_hex(3)}"
    server = mytest_pod(cluster, name)["containers"]
    client = {**cluster.container("tools", name="client"), "command": ["sleep", "86400"]}
    cluster.apply(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "namespace": namespace, "labels": {"run": name}},
            "spec": {"terminationGracePeriodSeconds": 0, "containers": [client, *server]},
        }
    )
    cluster.apply(service_manifest(namespace, name, {"run": name}))
    wait_until(
        f"{name} to be its Service's endpoint", lambda: cluster.endpoints(namespace, name), timeout=POD_START
    )
    (port,) = cluster.ports_of(namespace, name)
    pod = FromPod(cluster, namespace, name, "client")
    url = f"http://{port.cluster_ip}:80"
    rulebook.settle()
    (outcome,) = pod.probe(url, count=20)
    outcome.assert_all_answered(by={name})
