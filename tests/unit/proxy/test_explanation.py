"""`lab explain`: what is told of each kind of Service, to a person, a program, and on a page."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fake_reach import FakeReach, node
from proxy_dumps import POD_CIDR, objects, outputs

from lab.cli import options
from lab.errors import InputError
from lab.explain import page, picture, terminal
from lab.explain.clients import OUTSIDE_ADDRESS, Origin, origin, usual
from lab.explain.explanation import Explanation, explain
from lab.explain.outcomes import sentences
from lab.proxy.node import Node

RUN = {"iptables": "switched/iptables", "ipvs": "rich/ipvs", "nftables": "rich/nftables"}
NAMES = sorted({one["metadata"]["name"] for one in objects("rich", "services")["items"]})
USUAL = usual("node01", node("node01"))


def told(mode: str, name: str, clients: list[Origin] | None = None, port: str | None = None) -> Explanation:
    run = RUN[mode]
    cluster = run.partition("/")[0]
    texts = outputs(run)
    (service,) = [one for one in objects(cluster, "services")["items"] if one["metadata"]["name"] == name]
    return explain(
        service,
        objects(cluster, "endpointslices")["items"],
        mode=mode,
        outputs=texts,
        node=Node.of("node01", texts["ip-addr"], address="192.168.1.201", pod_cidr=POD_CIDR),
        clients=USUAL if clients is None else clients,
        port=port,
    )


def text(found: Explanation) -> str:
    return "\n".join("".join(part for _, part in line) for line in terminal.lines(found))


@pytest.mark.parametrize("mode", RUN)
@pytest.mark.parametrize("name", NAMES)
def test_every_kind_of_service_in_every_mode(mode: str, name: str) -> None:
    found = told(mode, name)
    assert found.walks or found.notes
    assert found.service in text(found)
    assert json.loads(json.dumps(found.json()))["node"] == "node01"
    whole = page.render(found)
    assert found.service in whole
    for walk in found.walks:
        for outcome in walk.outcomes:
            # Everything is accounted for: sent, refused, or passed on.
            assert sum(outcome.ends.values()) + sum(outcome.refused.values()) + outcome.passed == 1
            assert list(sentences(found, walk, outcome))


def test_a_node_port_service_is_told_by_both_addresses() -> None:
    found = told("iptables", "mytest-svc")
    assert [str(walk.to) for walk in found.walks] == ["10.103.54.151:80/TCP", "192.168.1.201:30000/TCP"]
    said = text(found)
    assert "Of those that get here, 1/3 at random: take this endpoint" in said
    assert "From clients that are no pods (not in 10.244.0.0/16)" in said
    assert f"from outside ({OUTSIDE_ADDRESS}): 1/3 to 10.244.1.2:8080 (on node01)" in said
    assert "--probability 0.33333333349" in said


@pytest.mark.parametrize("mode", RUN)
def test_policy_local(mode: str) -> None:
    found = told(mode, "etp-local", [Origin("outside", OUTSIDE_ADDRESS)])
    node_port = found.walks[-1].outcomes[0]
    assert {ip for ip, _ in node_port.ends} == {"10.244.1.2", "10.244.1.3"}
    assert not node_port.masqueraded
    assert (
        "externalTrafficPolicy Local: only endpoints on the node that the connection came to." in found.notes
    )


def test_what_has_no_rules_says_why() -> None:
    headless = told("iptables", "headless")
    assert not headless.walks
    assert "Headless: DNS answers its name with the endpoints' own addresses" in headless.notes[0]
    alias = explain(
        {
            "metadata": {"name": "alias", "namespace": "default"},
            "spec": {"type": "ExternalName", "externalName": "example.org"},
        },
        [],
        mode="iptables",
        outputs={},
        node=Node(name="node01", address="", addresses=(), pod_cidr=None),
        clients=USUAL,
    )
    assert "alias example.org" in alias.notes[0]
    assert "another proxy" in told("ipvs", "other-proxy").notes[0]


@pytest.mark.parametrize("mode", RUN)
def test_no_endpoints(mode: str) -> None:
    found = told(mode, "empty")
    assert "It has no ready endpoints." in found.notes
    assert "all refused at once (connection refused)" in text(found)


def test_ports_by_name_and_number() -> None:
    everything = told("nftables", "kube-dns")
    assert len(told("nftables", "kube-dns", port="dns").walks) == 1
    assert len(told("nftables", "kube-dns", port="53").walks) == 2
    assert len(everything.walks) > 2
    with pytest.raises(InputError, match=r"has no port 'http'(.|\n)*53 \(dns\)"):
        told("nftables", "kube-dns", port="http")


def test_the_page_is_one_file_without_script_or_network() -> None:
    whole = page.render(told("nftables", "affinity"))
    assert not re.search(r"<script|<link|<img|src=|url\(|@import|https?://(?!www\.w3\.org/2000/svg)", whole)
    assert "prefers-color-scheme:dark" in whole
    assert 'name="viewport"' in whole
    assert whole.count("<svg") == 2


def test_the_picture_has_every_endpoint_with_its_share() -> None:
    found = told("ipvs", "mytest-svc")
    rows = picture.rows(found, found.walks[0])
    assert [row.kind for row in rows] == ["address", "chain", "end", "end", "end"]
    assert [row.text for row in rows[1:3]] == ["virtual server, rr", "10.244.1.2:8080"]
    assert {str(share) for row in rows[2:] for share in row.shares.values()} == {"1/3"}
    svg = picture.svg(found, found.walks[0])
    assert svg.count(">1/3<") == 9


def test_markup_of_others_is_text() -> None:
    found = told("iptables", "mytest-svc", [Origin("<b>evil</b>", OUTSIDE_ADDRESS)])
    assert "<b>evil" not in page.render(found)


NODES = {name: node(name) for name in ("master", "node01", "node02")}
PODS: list[Any] = [
    {
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"nodeName": "node02", "hostNetwork": name == "host"},
        "status": {"podIP": ip},
    }
    for name, ip in (("web", "10.244.2.9"), ("host", "192.168.1.202"))
]


@pytest.mark.parametrize(
    ("words", "here", "local", "pod"),
    [
        ("outside", "node02", False, False),
        ("node02", "node02", True, False),
        ("node02", "node01", False, False),
        ("pod web", "node02", False, True),
        ("pod/web", "node01", False, False),
        ("pod/default/web", "node02", False, True),
        ("pod host", "node02", True, False),
        ("198.51.100.7", "node01", False, False),
    ],
)
def test_clients(words: str, here: str, local: bool, pod: bool) -> None:
    client = origin(words, NODES, PODS, "default").seen_on(here)
    assert (client.local, client.pod) == (local, pod)


@pytest.mark.parametrize("words", ["node09", "pod absent", "pod/other/web", "fd00::1"])
def test_no_such_client(words: str) -> None:
    with pytest.raises(InputError, match="There is no"):
        origin(words, NODES, PODS, "default")


@pytest.fixture
def reach(monkeypatch: pytest.MonkeyPatch) -> FakeReach:
    found = FakeReach("nftables")
    found.lists["pods"] = PODS
    monkeypatch.setattr(options, "reach", lambda *_: found)
    return found


@pytest.mark.usefixtures("reach")
def test_the_command(lab: Callable[..., Any], tmp_path: Path) -> None:
    usual_way = lab("explain", "mytest-svc").assert_exit(0).out
    assert usual_way.startswith("default/mytest-svc  ClusterIP, as programmed on node01 in nftables mode")
    by_pod = lab("explain", "kube-system/kube-dns", "--from", "pod/default/web", "--port", "dns").assert_exit(
        0
    )
    assert "as programmed on node02" in by_pod.out
    assert "from pod web (10.244.2.9)" in by_pod.out
    seen = json.loads(lab("explain", "mytest-svc", "--node", "master", "-o", "json").assert_exit(0).out)
    assert (seen["node"], seen["mode"], len(seen["endpoints"])) == ("master", "nftables", 3)
    lab("explain", "mytest-svc", "--html", str(tmp_path / "page.html")).assert_exit(0)
    assert "<svg" in (tmp_path / "page.html").read_text()


@pytest.mark.usefixtures("reach")
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("absent",), "Services of default: kubernetes, mytest-svc"),
        (("kube-dns",), "lab explain kube-system/kube-dns"),
        (("mytest-svc", "--node", "node09"), "nodes: master, node01, node02"),
        (("mytest-svc", "--from", "node09"), "--from outside"),
        (("mytest-svc", "--port", "https"), "ports: 80"),
        (("mytest-svc", "--html", "/nowhere/page.html"), "no folder '/nowhere'"),
    ],
)
def test_bad_input(lab: Callable[..., Any], words: tuple[str, ...], said: str) -> None:
    assert said in lab("explain", *words).assert_exit(2).err
