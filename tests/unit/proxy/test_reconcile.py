"""`lab verify`: slices against rules, on a cluster that answers from captured dumps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from fake_reach import FakeReach, replaced, unchanged, without

from lab.cli import options
from lab.errors import InputError, LabError
from lab.verify import reconcile as module
from lab.verify.reconcile import reconcile

DNAT = '-p udp -m comment --comment "kube-system/kube-dns:dns" -m udp -j DNAT'


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAUSE", 0)


@pytest.mark.parametrize("mode", ["iptables", "nftables"])
def test_a_sound_cluster_agrees_at_once(mode: str) -> None:
    reach = FakeReach(mode)
    found = reconcile(reach)
    assert found.differences == ()
    assert (found.rounds, reach.looks) == (1, 1)
    assert {name: view.mode for name, view in found.views.items()} == dict.fromkeys(
        ("master", "node01", "node02"), mode
    )


def test_a_missing_rule_is_named_with_its_service_node_and_rules() -> None:
    reach = FakeReach()
    reach.changes["node02"] = [without("iptables-save", "kube-system/kube-dns:dns cluster IP")]
    (difference, *_) = reconcile(reach, settle=0).differences
    assert (difference.node, difference.service) == ("node02", "kube-system/kube-dns:dns")
    assert str(difference.frontend) == "10.96.0.10:53/UDP"


def test_a_changed_rule_is_named_with_its_text() -> None:
    reach = FakeReach()
    reach.changes["node01"] = [
        replaced(
            "iptables-save", "--to-destination 192.168.1.200:6443", "--to-destination 192.168.1.200:6444"
        )
    ]
    (difference, hairpin) = reconcile(reach, settle=0).differences
    assert hairpin.layer == "hairpin"
    assert (difference.node, difference.service, difference.layer) == (
        "node01",
        "default/kubernetes:https",
        "backends",
    )
    assert (difference.expected, difference.seen) == ("192.168.1.200:6443 (1)", "192.168.1.200:6444 (1)")
    assert any("192.168.1.200:6444" in rule for rule in difference.raw)


def test_a_change_in_flight_is_waited_for() -> None:
    reach = FakeReach()
    late = replaced("iptables-save", ":6443", ":6444")
    reach.changes["node01"] = [late, late, unchanged]
    found = reconcile(reach, settle=30)
    assert found.differences == ()
    assert found.rounds == 3


def test_the_bound_begins_again_with_each_change_of_the_api(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(0, 1000, 4))
    monkeypatch.setattr("lab.verify.reconcile.time.monotonic", lambda: float(next(clock)))
    reach = FakeReach()
    reach.changes["node01"] = [replaced("iptables-save", ":6443", ":6444")]
    still = reconcile(reach, settle=10).rounds
    original = reach.get

    def changing(path: str) -> dict[str, Any]:
        if path.endswith("services") and reach.looks < 8:
            reach.lists["services"] = [{**one, "touched": reach.looks} for one in reach.lists["services"]]
        return original(path)

    monkeypatch.setattr(reach, "get", changing)
    assert reconcile(reach, settle=10).rounds > still


def test_a_rule_that_nobody_knows_is_named_with_its_text() -> None:
    reach = FakeReach()
    reach.changes["node02"] = [
        replaced("iptables-save", "-m udp -j DNAT", "-m ttl --ttl-eq 3 -m udp -j DNAT")
    ]
    (difference,) = reconcile(reach, settle=0).differences
    assert (difference.node, difference.layer) == ("node02", "unrecognised rule")
    assert difference.service == "kube-system/kube-dns:dns"
    assert "--ttl-eq 3" in difference.raw[0]


def test_what_another_mode_left_is_a_disagreement() -> None:
    reach = FakeReach("nftables")
    reach.changes["master"] = [replaced("iptables-save", "*filter\n", "*filter\n:KUBE-SERVICES - [0:0]\n")]
    (difference,) = reconcile(reach, settle=0).differences
    assert (difference.node, difference.layer) == ("master", "residue")
    assert "KUBE-SERVICES" in difference.seen


def test_a_service_that_the_rules_lack_is_named_on_every_node() -> None:
    reach = FakeReach()
    (known,) = [one for one in reach.lists["services"] if one["metadata"]["name"] == "kubernetes"]
    reach.lists["services"].append(
        {
            "metadata": {"name": "new", "namespace": "default"},
            "spec": {**known["spec"], "clusterIP": "10.96.7.7", "clusterIPs": ["10.96.7.7"]},
        }
    )
    found = reconcile(reach, settle=0).differences
    assert {(one.node, one.service, one.layer) for one in found} == {
        (node, "default/new:https", "frontend") for node in ("master", "node01", "node02")
    }


def test_a_node_that_does_not_answer_is_an_error_that_names_it() -> None:
    reach = FakeReach()
    reach.silent = {"node01"}
    with pytest.raises(LabError, match=r"node01: no route to host"):
        reconcile(reach)


def test_a_node_without_kube_proxy_is_an_error_that_names_it() -> None:
    reach = FakeReach()
    reach.changes["node02"] = [lambda texts: texts.update({"proxy-mode": ""})]
    with pytest.raises(InputError, match=r"node02: no answer on 127\.0\.0\.1:10249"):
        reconcile(reach)


def test_a_kube_proxy_that_does_not_tell_its_configuration_is_named() -> None:
    reach = FakeReach()
    reach.changes["node02"] = [lambda texts: texts.update({"configz": "404 page not found"})]
    with pytest.raises(LabError, match="node02: This is no /configz of kube-proxy's"):
        reconcile(reach)


@pytest.fixture
def reach(monkeypatch: pytest.MonkeyPatch) -> FakeReach:
    """The cluster that the command finds."""
    found = FakeReach()
    monkeypatch.setattr(options, "reach", lambda *_: found)
    return found


def test_the_command_agrees(lab: Callable[..., Any], reach: FakeReach) -> None:
    outcome = lab("verify", "--no-traffic").assert_exit(0)
    assert outcome.out.startswith("EndpointSlices = rules: ")
    assert "on 3 nodes, iptables mode" in outcome.out
    assert reach.looks == 1


def test_the_command_names_the_first_and_counts_the_rest(lab: Callable[..., Any], reach: FakeReach) -> None:
    reach.changes = {name: [replaced("iptables-save", ":6443", ":6444")] for name in ("node01", "node02")}
    outcome = lab("verify", "--settle", "0").assert_exit(1)
    lines = outcome.out.splitlines()
    assert lines[:2] == ["Service   default/kubernetes:https", "Node      node01, iptables mode"]
    assert "Expected  192.168.1.200:6443 (1)" in lines
    assert lines[-1] == "and 3 more: lab verify -o json"
    found = lab("verify", "--settle", "0", "-o", "json").assert_exit(1)
    assert '"agree": false' in found.out
    assert found.out.count('"layer": "backends"') == 2


@pytest.mark.parametrize(
    "words",
    [("--kubeconfig", "absent"), ("--image", "example/tools:1"), ("--name", "lab", "--kubeconfig", "absent")],
)
def test_bad_input(lab: Callable[..., Any], words: tuple[str, ...]) -> None:
    for verb in (("verify",), ("explain", "mytest-svc")):
        lab(*verb, *words).assert_exit(2)
