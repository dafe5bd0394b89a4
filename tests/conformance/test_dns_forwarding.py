"""CoreDNS forwards: a stub domain, reverse look-ups and external names, to name servers of the test's own.

The cluster's own Corefile is changed and put back, which every pod of the cluster may feel: run apart.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address

import pytest
from lightkube.resources.core_v1 import ConfigMap, Pod
from lightkube.types import PatchType

from .asking import ask, full
from .cluster import Cluster
from .nameserver import start_nameserver
from .probing import FromPod
from .stage import Stage
from .waiting import wait_until

COREFILE = ("coredns", "kube-system")
STUB = "acme.local"
STUBBED = {f"abc.{STUB}": "192.0.2.11", f"def.{STUB}": "192.0.2.12"}
BEYOND = {"widget.local": "192.0.2.13", "foo.example.com": "192.0.2.123"}
"""Names of no zone that the Corefile names: they go to the server that all the rest is forwarded to."""
RELOADED = 150.0
"""Seconds until both replicas serve another Corefile: the kubelet gives it to them within some 70 s, and they
look every 30 s (plugins/reload); a wait, not a promise."""


@dataclass(frozen=True)
class Forwarded:
    """The pod that asks, while the cluster's CoreDNS forwards to the test's own name server."""

    stage: Stage
    client: FromPod
    replicas: tuple[str, ...]
    """The IPs of CoreDNS' pods: each is asked by itself."""

    def answers(self, question: str) -> dict[str, set[str]]:
        """What each replica answers: the data of its records."""
        found = {}
        for ip in self.replicas:
            # Once each, and asked again by `all_say`: after the test there may be no server to forward to.
            (answer,) = ask(self.client, question, options=f"+tries=1 +time=3 @{ip}").values()
            found[ip] = {data for _, data in answer.records}
        return found

    def all_say(self, question: str, wanted: set[str]) -> None:
        """Until every replica answers so."""

        def agreed() -> bool:
            seen = self.answers(question)
            assert seen == dict.fromkeys(self.replicas, wanted), str(seen)
            return True

        wait_until(
            f"CoreDNS to answer {question} with {wanted or 'nothing'}", agreed, timeout=RELOADED, interval=2
        )


def put(cluster: Cluster, corefile: str, *, note: str | None) -> None:
    """Give CoreDNS a Corefile, and its pods a note (or take it away).

    A pod that changes is looked after by its kubelet at once, its volumes with it, and not a minute later.
    """
    name, namespace = COREFILE
    cluster.api.patch(
        ConfigMap, name, {"data": {"Corefile": corefile}}, namespace=namespace, patch_type=PatchType.MERGE
    )
    for pod in cluster.pods(namespace, {"k8s-app": "kube-dns"}):
        touched = {"metadata": {"annotations": {"kube-service-lab/corefile": note}}}
        cluster.api.patch(Pod, pod, touched, namespace=namespace, patch_type=PatchType.MERGE)


@pytest.fixture(scope="module")
def forwarded(cluster: Cluster, stage: Stage) -> Iterator[Forwarded]:
    """STUB to one name server, everything else outside the cluster to another; then all as before."""
    # Two, each of which knows nothing of what is the other's: an answer says who gave it.
    servers = [start_nameserver(stage, "stub", STUBBED), start_nameserver(stage, "beyond", BEYOND)]
    client = stage.pod({}, server=False, client=True)
    stage.wait(*servers, client)
    stub, beyond = map(stage.ip, servers)
    name, namespace = COREFILE
    before = (cluster.api.get(ConfigMap, name, namespace=namespace).data or {})["Corefile"]
    changed, places = re.subn(r"(forward \.) \S+", rf"\1 {beyond}", before)
    assert places == 1, f"the Corefile does not forward in one place: {before}"
    # Looked at often from then on, so that the way back is short.
    changed = re.sub(r"^(\s*reload)$", r"\1 2s 1s", changed, flags=re.MULTILINE)
    block = f"{STUB}:53 {{\n    errors\n    forward . {stub}\n}}\n"
    found = Forwarded(
        stage, stage.client(client), tuple(cluster.pods(namespace, {"k8s-app": "kube-dns"}).values())
    )
    first = f"abc.{STUB}"
    try:
        put(cluster, f"{changed}{block}", note="a test's")
        found.all_say(f"{first}. A", {STUBBED[first]})
        yield found
    finally:
        put(cluster, before, note=None)
    found.all_say(f"{first}. A", set())
    (port,) = cluster.ports_of("default", "kubernetes")
    found.all_say(f"{full('kubernetes', 'default')} A", {port.cluster_ip})


pytestmark = pytest.mark.timeout(600)


@pytest.mark.behaviour("dns-stub-domain")
def test_stub_domain_is_forwarded(forwarded: Forwarded) -> None:
    for name, address in STUBBED.items():
        forwarded.all_say(f"{name}. A", {address})
    # The cluster's own names are none of its business.
    (port,) = forwarded.stage.cluster.ports_of("default", "kubernetes")
    forwarded.all_say(f"{full('kubernetes', 'default')} A", {port.cluster_ip})


@pytest.mark.behaviour("dns-forwarding")
def test_names_and_addresses_outside_are_forwarded(forwarded: Forwarded) -> None:
    """A name, and an address back to its name (PTR); the cluster's own addresses are still CoreDNS's own."""
    forwarded.all_say("widget.local. A", {BEYOND["widget.local"]})
    outside = ip_address(BEYOND["widget.local"]).reverse_pointer
    forwarded.all_say(f"{outside}. PTR", {"widget.local."})
    (port,) = forwarded.stage.cluster.ports_of("default", "kubernetes")
    inside = ip_address(port.cluster_ip).reverse_pointer
    forwarded.all_say(f"{inside}. PTR", {full("kubernetes", "default")})


@pytest.mark.behaviour("dns-forwarded-external-name")
def test_external_name_is_resolved_by_the_server_it_is_forwarded_to(forwarded: Forwarded) -> None:
    (target, address), stage = ("foo.example.com", BEYOND["foo.example.com"]), forwarded.stage
    service = stage.service(None, type="ExternalName", externalName=target)
    forwarded.all_say(f"{full(service.name, stage.namespace)} A", {f"{target}.", address})
