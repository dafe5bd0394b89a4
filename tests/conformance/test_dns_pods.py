"""What a pod is called: its hostname, and the entries of its /etc/hosts, which the kubelet keeps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pytest

from .asking import DOMAIN, ask, full, in_turn
from .nodes import Node
from .stage import Stage
from .workload import TARGET_PORT

HOSTNAME, SUBDOMAIN = "querier", "sub"
"""No Service is called `sub`: DNS knows nothing of the name, /etc/hosts alone does."""
ALIASES = [
    {"ip": "127.0.0.1", "hostnames": ["alias.example", "other.alias.example"]},
    {"ip": "192.0.2.7", "hostnames": ["elsewhere.example"]},
]


@dataclass(frozen=True)
class Pod:
    """A pod and what was read in it."""

    name: str
    ip: str
    hostname: str
    entries: Mapping[str, tuple[str, ...]]
    """The lines of its /etc/hosts: address to the names on it, those of several lines together."""
    curled: Mapping[str, str]
    """A name to what its HTTP server on `TARGET_PORT` said."""


@dataclass(frozen=True)
class Pods:
    """The pods of this file."""

    plain: Pod
    named: Pod
    """With a hostname, a subdomain and hostAliases."""
    on_host: Pod
    """With the node's network; has a hostname and hostAliases as well."""
    guest: str


def entries(text: str) -> dict[str, tuple[str, ...]]:
    """The lines of an /etc/hosts."""
    found: dict[str, tuple[str, ...]] = {}
    for line in text.splitlines():
        words = line.partition("#")[0].split()
        if words:
            found[words[0]] = (*found.get(words[0], ()), *words[1:])
    return found


def read(stage: Stage, pod: str, *names: str) -> Pod:
    """Look around in a pod, in one exec."""
    curl = {name: f"curl -sS -m 5 http://{name}:{TARGET_PORT}" for name in names}
    said = in_turn(stage.client(pod), ["uname -n", "cat /etc/hosts", *curl.values()])
    return Pod(
        name=pod,
        ip=stage.ip(pod),
        hostname=said["uname -n"].strip(),
        entries=entries(said["cat /etc/hosts"]),
        curled={name: said[command] for name, command in curl.items()},
    )


@pytest.fixture(scope="module")
def home(nodes: tuple[Node, ...]) -> Node:
    """The node that the hostNetwork pod runs on."""
    return nodes[-1]


@pytest.fixture(scope="module")
def pods(stage: Stage, home: Node) -> Pods:
    """All started together, then read."""
    plain = stage.pod({}, client=True)
    named = stage.pod({}, client=True, hostname=HOSTNAME, subdomain=SUBDOMAIN, hostAliases=ALIASES)
    on_host = stage.pod(
        {},
        node=home.name,
        server=False,
        client=True,
        hostNetwork=True,
        hostname="unused",
        hostAliases=ALIASES,
    )
    stage.wait(plain, named, on_host)
    absolute = full(f"{HOSTNAME}.{SUBDOMAIN}", stage.namespace).rstrip(".")
    return Pods(
        plain=read(stage, plain, plain),
        named=read(stage, named, HOSTNAME, absolute, *ALIASES[0]["hostnames"]),
        on_host=read(stage, on_host),
        guest=plain,
    )


@pytest.mark.behaviour("dns-etc-hosts")
def test_pod_knows_its_own_names(pods: Pods, stage: Stage) -> None:
    """Its hostname, with the subdomain its full name too; both lead to itself."""
    fqdn = f"{HOSTNAME}.{SUBDOMAIN}.{stage.namespace}.svc.{DOMAIN}"
    assert pods.plain.entries[pods.plain.ip] == (pods.plain.name,)
    assert pods.named.entries[pods.named.ip] == (fqdn, HOSTNAME)
    assert pods.named.entries["127.0.0.1"][0] == "localhost"
    for pod, names in ((pods.plain, [pods.plain.name]), (pods.named, [HOSTNAME, fqdn])):
        for name in names:
            assert f"Running on: {pod.hostname} |" in pod.curled[name], f"{pod.name}: {name}: {pod.curled}"


@pytest.mark.behaviour("dns-etc-hosts")
def test_names_are_from_etc_hosts_and_not_from_dns(pods: Pods, stage: Stage) -> None:
    absolute = full(f"{HOSTNAME}.{SUBDOMAIN}", stage.namespace)
    (answer,) = ask(stage.client(pods.named.name), f"{absolute} A").values()
    assert answer.status == "NXDOMAIN", answer


@pytest.mark.behaviour("dns-host-aliases")
def test_host_aliases_lead_where_they_say(pods: Pods) -> None:
    """In a pod of its own network and in one of the node's."""
    for pod in (pods.named, pods.on_host):
        for alias in ALIASES:
            known = pod.entries.get(str(alias["ip"]), ())
            assert set(alias["hostnames"]) <= set(known), f"{pod.name}: {pod.entries}"
    for name in ALIASES[0]["hostnames"]:
        assert f"Running on: {HOSTNAME} |" in pods.named.curled[name], pods.named.curled
    assert not set(pods.plain.entries) & {"192.0.2.7"}, "no other pod has them"


@pytest.mark.behaviour("dns-etc-hosts")
def test_hostnetwork_pod_has_the_nodes_own_entries(pods: Pods, home: Node) -> None:
    own = entries(home.run("cat /etc/hosts"))
    assert own
    seen = pods.on_host.entries
    assert {address: names for address, names in seen.items() if address in own} == {
        address: (*names, *(ALIASES[0]["hostnames"] if address == "127.0.0.1" else ()))
        for address, names in own.items()
    }
    assert set(seen) - set(own) <= {str(alias["ip"]) for alias in ALIASES}


@pytest.mark.behaviour("pod-hostname")
def test_hostname_is_the_one_asked_for(pods: Pods) -> None:
    """Without one it is the pod's name."""
    assert (pods.named.hostname, pods.plain.hostname) == (HOSTNAME, pods.plain.name)


@pytest.mark.behaviour("pod-hostname")
def test_hostnetwork_pod_has_the_nodes_hostname(pods: Pods, home: Node) -> None:
    assert pods.on_host.hostname == home.run("uname -n").strip()
