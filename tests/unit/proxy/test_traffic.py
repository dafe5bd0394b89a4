"""`lab verify`: rules against connections and counters, from what a node's script says."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable

import pytest
from fake_reach import ADDRESSES, Change, FakeReach

from lab.proxy.counters import of_ipvs
from lab.proxy.model import Frontend
from lab.verify import connections, traffic
from lab.verify.reconcile import reconcile
from lab.verify.traffic import Traffic, observe, targets

API, DNS = Frontend("10.96.0.1", 443, "TCP"), Frontend("10.96.0.10", 53, "TCP")


def line(client: str, sport: int, front: Frontend, end: tuple[str, int]) -> str:
    return (
        f"tcp 6 117 TIME_WAIT src={client} dst={front.ip} sport={sport} dport={front.port} "
        f"src={end[0]} dst=10.244.0.0 sport={end[1]} dport={sport} [ASSURED] mark=0 use=1"
    )


def counting(moved: int = 0) -> Change:
    """Rules with counters: all at 10, or those of endpoints at so much more."""

    def change(texts: dict[str, str]) -> None:
        text = re.sub(r"(?m)^-A ", "[10:600] -A ", texts["iptables-save"])
        texts["iptables-save"] = re.sub(r"(?m)^\[10:600\](?=.* -j DNAT )", f"[{10 + moved}:600]", text)

    return change


class Cluster(FakeReach):
    """Nodes whose connections are given; the same on each."""

    def __init__(self, said: Callable[[str], list[str]], moved: int = 3) -> None:
        super().__init__()
        self.connections = {name: "\n".join(said(address)) for name, address in ADDRESSES.items()}
        self.changes = {name: [counting(), counting(moved)] for name in ADDRESSES}

    def observed(self) -> Traffic:
        found = reconcile(self)
        assert not found.differences
        return observe(self, found.objects, found.views)


def sound(address: str) -> list[str]:
    found = reconcile(FakeReach())
    said = []
    for number, (front, count) in enumerate(targets(found.views["node01"])):
        ends = sorted(found.views["node01"].rules.services[front].endpoints)
        said.append(f"tried {front.ip} {front.port} {count} ")
        said += [
            "after " + line(address, 40000 + 10 * number + place, front, ends[place % len(ends)])
            for place in range(count)
        ]
    return ["before " + line(address, 39999, API, ("192.0.2.7", 6443)), *said]


def test_sound_traffic_agrees() -> None:
    seen = Cluster(sound).observed()
    assert seen.differences == ()
    assert seen.counted == tuple(ADDRESSES)
    assert seen.connections == 3 * seen.addresses * traffic.EACH


def changed(old: str, new: str) -> Callable[[str], list[str]]:
    def said(address: str) -> list[str]:
        lines = sound(address)
        assert any(re.search(old, one) for one in lines)
        return [re.sub(old, new, one) for one in lines]

    return said


@pytest.mark.parametrize(
    ("said", "moved", "layer", "seen"),
    [
        (
            changed(r"^(after .*)src=192.168.1.200 dst=10.244", r"\1src=192.0.2.9 dst=10.244"),
            3,
            "traffic",
            "192.0.2.9:6443",
        ),
        (
            changed(r"^tried 10.96.0.1 443 3 ", "tried 10.96.0.1 443 0 Connection refused"),
            3,
            "traffic",
            "Connection refused",
        ),
        (changed(r"^after .*dst=10.96.0.1 .*", ""), 3, "traffic", "0 of 3"),
        (sound, 0, "counters", "0"),
    ],
)
def test_what_disagrees_is_named(said: Callable[[str], list[str]], moved: int, layer: str, seen: str) -> None:
    found = Cluster(said, moved).observed().differences
    assert {one.node for one in found} == set(ADDRESSES)
    of_api = [one for one in found if one.service == "default/kubernetes:https"]
    assert of_api[0].layer == layer
    assert seen in of_api[0].seen
    assert any("6443" in rule for rule in of_api[0].raw)


def test_counters_that_kube_proxy_wrote_anew_are_not_compared() -> None:
    cluster = Cluster(sound, moved=0)

    def later(texts: dict[str, str]) -> None:
        counting()(texts)
        texts["last-sync"] = f"{cluster.looks}"

    cluster.changes = {name: [later] for name in ADDRESSES}
    seen = cluster.observed()
    assert seen.differences == ()
    assert seen.counted == ()
    assert cluster.looks > traffic.TRIES


def test_rules_that_change_meanwhile_are_no_disagreement() -> None:
    def other(texts: dict[str, str]) -> None:
        counting(3)(texts)
        texts["iptables-save"] = texts["iptables-save"].replace(":6443", ":6444")

    cluster = Cluster(changed(r"sport=6443", "sport=6444"))
    cluster.changes = {name: [counting(), other] for name in ADDRESSES}
    assert cluster.observed().differences == ()


def test_the_script_is_one_and_makes_what_is_asked(tmp_path: object) -> None:
    del tmp_path
    script = connections.script([(API, 3), (DNS, 1)])
    assert "try 10.96.0.1 443 3 &" in script
    assert "try 10.96.0.10 53 1 &" in script
    assert subprocess.run(["bash", "-n"], input=script, text=True, check=False).returncode == 0


def test_stats_of_ipvs() -> None:
    text = """IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port               Conns   InPkts  OutPkts  InBytes OutBytes
  -> RemoteAddress:Port
TCP  10.96.0.1:443                       3       12       10      900     1200
  -> 192.168.1.200:6443                  3       12       10      900     1200
UDP  10.96.0.10:53                       0        0        0        0        0
"""
    assert of_ipvs(text) == {API: {("192.168.1.200", 6443): 3}, Frontend("10.96.0.10", 53, "UDP"): {}}
