"""dnsPolicy and dnsConfig: the resolv.conf that a pod gets, and look-ups that go by it."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from .asking import DOMAIN, ask, in_turn
from .cluster import Cluster
from .nameserver import start_nameserver
from .stage import Stage

ZONE = "resolv.conf.local"
BY_SEARCH, AS_IT_STANDS = "192.0.2.1", "192.0.2.2"
MANY = tuple(f"{number:032}.{DOMAIN}" for number in range(1, 7))
"""Of the cluster's domain, so that CoreDNS itself says that there is no such name, and asks nobody beyond."""
ODD = (".", "_sip._tcp.abc_d.example.com")


@dataclass(frozen=True)
class Conf:
    """A resolv.conf."""

    nameservers: tuple[str, ...]
    search: tuple[str, ...]
    options: frozenset[str]

    @classmethod
    def read(cls, text: str) -> Conf:
        """Read one."""
        lines: dict[str, list[str]] = {"nameserver": [], "search": [], "options": []}
        for line in text.splitlines():
            keyword, *words = line.split()
            lines[keyword] += words
        return cls(tuple(lines["nameserver"]), tuple(lines["search"]), frozenset(lines["options"]))


@dataclass(frozen=True)
class Configured:
    """Pods with a DNS configuration of their own."""

    nameserver: str
    """The IP of a name server that knows the names of ZONE and none of the cluster."""
    own: str
    """The pod that asks this server alone, with ndots 2 and ZONE as its search path."""
    many: str
    """A pod of the default policy, with seven search paths more."""
    odd: str
    """A pod of the default policy, with search paths of one dot, and with an underscore."""


@pytest.fixture(scope="module")
def api_ip(cluster: Cluster) -> str:
    """The ClusterIP of the API."""
    (port,) = cluster.ports_of("default", "kubernetes")
    return port.cluster_ip


@pytest.fixture(scope="module")
def configured(stage: Stage, api_ip: str) -> Configured:
    """The name server first: a pod's dnsConfig needs its address."""
    records = {f"host.sub.{ZONE}": BY_SEARCH, "host.sub": AS_IT_STANDS, f"api.{ZONE}": api_ip}
    server = start_nameserver(stage, "nameserver", records)
    stage.wait(server)
    ip = stage.ip(server)
    by_itself = {"nameservers": [ip], "searches": [ZONE], "options": [{"name": "ndots", "value": "2"}]}
    last = f"default.svc.{DOMAIN}"
    configs = (
        {"dnsPolicy": "None", "dnsConfig": by_itself},
        {"dnsConfig": {"searches": [*MANY, last], "options": [{"name": "ndots", "value": "5"}]}},
        {"dnsConfig": {"searches": list(ODD)}},
    )
    own, many, odd = (stage.pod({}, server=False, client=True, **config) for config in configs)
    stage.wait(own, many, odd)
    return Configured(ip, own, many, odd)


def conf(stage: Stage, pod: str) -> Conf:
    """A pod's resolv.conf."""
    (text,) = in_turn(stage.client(pod), ["cat /etc/resolv.conf"]).values()
    return Conf.read(text)


def of_the_cluster(stage: Stage) -> tuple[str, ...]:
    """The search path that every pod of the stage has by default."""
    return (f"{stage.namespace}.svc.{DOMAIN}", f"svc.{DOMAIN}", DOMAIN)


@pytest.mark.behaviour("dns-nameservers")
def test_policy_none_has_the_nameserver_and_nothing_of_the_cluster(
    stage: Stage, configured: Configured, api_ip: str
) -> None:
    assert conf(stage, configured.own) == Conf((configured.nameserver,), (ZONE,), frozenset({"ndots:2"}))
    found = ask(stage.client(configured.own), f"api.{ZONE}. A", f"kubernetes.default.svc.{DOMAIN}. A")
    named, of_cluster = found.values()
    assert named.of("A") == {api_ip}
    assert not of_cluster.records, "its own name server does not know the cluster"


@pytest.mark.behaviour("dns-resolv-conf")
def test_search_path_and_ndots_are_gone_by(stage: Stage, configured: Configured, api_ip: str) -> None:
    """One dot is fewer than the two of ndots: the search path comes first, the name as it stands later."""
    client = stage.client(configured.own)
    found = ask(client, "host.sub A", "host.sub. A", "api A")
    assert {question: answer.of("A") for question, answer in found.items()} == {
        "host.sub A": {BY_SEARCH},
        "host.sub. A": {AS_IT_STANDS},
        "api A": {api_ip},
    }
    # By the C library, which is what most programs ask.
    (said,) = in_turn(client, ["curl -sSk -m 10 https://api/readyz"]).values()
    assert said == "ok"


@pytest.mark.behaviour("dns-many-search-paths")
def test_more_than_six_search_paths_and_256_characters(stage: Stage, configured: Configured) -> None:
    """The last of them is the one that leads to a Service: by the C library's resolver."""
    seen = conf(stage, configured.many)
    assert seen.search[:10] == (*of_the_cluster(stage), *MANY, f"default.svc.{DOMAIN}")
    assert len(" ".join(seen.search)) > 256
    client = stage.client(configured.many)
    (said,) = in_turn(client, ["curl -sSk -m 10 https://kubernetes/readyz"]).values()
    assert said == "ok"


@pytest.mark.behaviour("dns-odd-search-paths")
def test_search_paths_of_a_dot_and_with_an_underscore(
    stage: Stage, configured: Configured, api_ip: str
) -> None:
    assert conf(stage, configured.odd).search[:5] == (*of_the_cluster(stage), *ODD)
    client = stage.client(configured.odd)
    names = ("kubernetes.default", "kubernetes.default.svc")
    found = ask(client, *(f"{name} A" for name in names))
    assert {answer.records for answer in found.values()} == {(("A", api_ip),)}
    said = in_turn(client, [f"curl -sSk -m 10 https://{name}/readyz" for name in names])
    assert set(said.values()) == {"ok"}
