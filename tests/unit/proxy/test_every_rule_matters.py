"""Take one rule away, or change one, and the reader must say so: an unknown rule, a fault or a difference.

What it may overlook is stated below, each with the reason.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator

import pytest
from proxy_dumps import expected, outputs

from lab import proxy
from lab.proxy import UnrecognisedRule
from lab.proxy.compare import compare

# Of so many rules one is taken away; 1 tries each, in a minute or two.
THOROUGH = int(os.environ.get("THOROUGH", "7"))
RUN = {"iptables": "switched/iptables", "ipvs": "rich/ipvs", "nftables": "rich/nftables"}
WANTED = {mode: expected(mode, run) for mode, run in RUN.items()}


def noticed(mode: str, texts: dict[str, str]) -> bool:
    """Whether the reader or the comparison finds anything wrong."""
    try:
        return bool(compare(WANTED[mode], proxy.read(mode, texts)))
    except UnrecognisedRule as error:
        return bool(error.raw)


def harmless(line: str) -> bool:
    """Rules whose absence sends no connection elsewhere, or that a second one stands in for."""
    return (
        "KUBE-FIREWALL" in line  # kubelet's
        or line.startswith("-A KUBE-FORWARD")  # accepts and drops by connection state, not by Service
        or "--nfacct-name" in line  # counts, the next rule does the same
        or ("-d 127.0.0.0/8" in line and "KUBE-NODEPORTS" in line)  # the same without nfacct
        or "other traffic to" in line  # a comment without a target
        or line.endswith(("--set-xmark 0x4000/0x0", "-s 127.0.0.0/8 -j RETURN"))
        or "KUBE-LOAD-BALANCER-SOURCE-IP" in line  # the only one lies within its Service's ranges anyway
        or " -j ACCEPT" in line  # of ipvs mode: shields from other people's chains
        or (" -j RETURN" in line and "KUBE-IPVS-FILTER" in line)  # of ipvs mode: ports of VIPs
    )


def without_one(text: str, wanted: Callable[[str], bool]) -> Iterator[tuple[str, str]]:
    """Each line that is wanted, and the text without it."""
    lines = text.splitlines(keepends=True)
    for number, line in enumerate(lines):
        if wanted(line.rstrip()):
            yield line.rstrip(), "".join(lines[:number] + lines[number + 1 :])


def ours(line: str) -> bool:
    return line.startswith("-A ") and "KUBE-" in line and not harmless(line)


def test_each_iptables_rule() -> None:
    texts = outputs(RUN["iptables"])
    mutants = list(without_one(texts["iptables-save"], ours))[::THOROUGH]
    assert len(mutants) > 5
    overlooked = [line for line, text in mutants if not noticed("iptables", {**texts, "iptables-save": text})]
    assert overlooked == []


@pytest.mark.parametrize("dump", ["iptables-save", "ipvsadm", "ipset"])
def test_each_ipvs_rule(dump: str) -> None:
    texts = outputs("rich/ipvs")
    wanted = {"iptables-save": ours, "ipvsadm": lambda line: line.startswith("-a"), "ipset": ipset_entry}[
        dump
    ]
    mutants = list(without_one(texts[dump], wanted))[:: 1 if dump == "iptables-save" else 2 * THOROUGH]
    assert len(mutants) > 5
    overlooked = [line for line, text in mutants if not noticed("ipvs", {**texts, dump: text})]
    assert overlooked == []


def ipset_entry(line: str) -> bool:
    # Every pod of the node is in KUBE-LOOP-BACK, whether or not connections may go there.
    return line.startswith("add KUBE-") and "LOOP-BACK" not in line and not harmless(line)


def test_each_nftables_rule() -> None:
    texts = outputs("rich/nftables")
    listing = json.loads(texts["nft"])["nftables"]
    overlooked = []
    for number, entry in enumerate(listing):
        if "rule" not in entry or number % THOROUGH:
            continue
        left = {"nftables": listing[:number] + listing[number + 1 :]}
        if not noticed("nftables", {**texts, "nft": json.dumps(left)}):
            overlooked.append(entry["rule"])
    assert overlooked == []


def test_each_nftables_element() -> None:
    texts = outputs("rich/nftables")
    overlooked = []
    for position, entry in enumerate(json.loads(texts["nft"])["nftables"]):
        body = entry.get("map") or entry.get("set") or {}
        for number in range(0, len(body.get("elem", ())), 2 * THOROUGH):
            listing = json.loads(texts["nft"])
            gone = (listing["nftables"][position].get("map") or listing["nftables"][position]["set"])[
                "elem"
            ].pop(number)
            if not noticed("nftables", {**texts, "nft": json.dumps(listing)}):
                overlooked.append((body["name"], gone))
    assert overlooked == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("--probability 0.33333333349", "--probability 0.30000000019"),
        ("--to-destination 10.244.1.2:8080", "--to-destination 10.244.1.2:8081"),
        ("! -s 10.244.0.0/16", "! -s 10.244.0.0/17"),
        ("--seconds 300 ", "--seconds 301 "),
        ("-j REJECT --reject-with icmp-port-unreachable", "-j DROP"),
        ("-m statistic --mode random", "-m statistic --mode nth"),
        ("--dport 30000 ", "--dport 30099 "),
        ("-j KUBE-MARK-MASQ", "-m limit --limit 5/sec -j KUBE-MARK-MASQ"),
        ("--set-xmark 0x4000/0x4000", "--set-xmark 0x8000/0x8000"),
        (" -m recent --set --name", " -m recent --update --name"),
    ],
)
def test_a_changed_iptables_rule(old: str, new: str) -> None:
    texts = outputs(RUN["iptables"])
    assert old in texts["iptables-save"]
    assert noticed("iptables", {**texts, "iptables-save": texts["iptables-save"].replace(old, new, 1)})


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"mod": 3', '"mod": 4'),
        ('"mod": 3', '"mod": 2'),
        ('"mode": "random"', '"mode": "inc"'),
        ('"concat": ["10.244.1.2", 8080]', '"concat": ["10.244.1.9", 8080]'),
        ('"timeout": 300', '"timeout": 301'),
        ('{"goto": {"target": "reject-chain"}}', '{"accept": null}'),
        ('{"goto": {"target": "reject-chain"}}', '{"drop": null}'),
        ('"hook": "postrouting"', '"hook": "output"'),
        ('{"drop": null}', '{"queue": null}'),
    ],
)
def test_a_changed_nftables_rule(old: str, new: str) -> None:
    texts = outputs("rich/nftables")
    assert old in texts["nft"]
    assert noticed("nftables", {**texts, "nft": texts["nft"].replace(old, new, 1)})


@pytest.mark.parametrize(
    ("dump", "old", "new"),
    [
        ("ipvsadm", "-m -w 1", "-m -w 0"),
        ("ipvsadm", "-m -w 1", "-g -w 1"),
        ("ipvsadm", "-m -w 1", "-m -w 1 -x 5"),
        ("ipvsadm", "-s rr", "-s wrr"),
        ("ipvsadm", "-p 300", "-p 301"),
        ("ipset", "add KUBE-NODE-PORT-TCP 30000", "add KUBE-NODE-PORT-TCP 30099"),
        ("ip-addr", '"local":"10.96.0.1"', '"local":"10.96.0.2"'),
    ],
)
def test_a_changed_ipvs_rule(dump: str, old: str, new: str) -> None:
    texts = outputs("rich/ipvs")
    assert old in texts[dump]
    assert noticed("ipvs", {**texts, dump: texts[dump].replace(old, new, 1)})


def test_strange_chains_of_others_are_theirs() -> None:
    """flannel, CNI plugins, docker: not kube-proxy's chains, so not its rules either."""
    texts = outputs(RUN["iptables"])
    others = "*nat\n:FLANNEL-POSTRTG - [0:0]\n-A FLANNEL-POSTRTG -m odd --thing 5 -j X\nCOMMIT\n"
    assert not noticed("iptables", {**texts, "iptables-save": texts["iptables-save"] + others})


def test_no_rules_at_all_are_faults() -> None:
    texts = outputs(RUN["iptables"])
    for mode in proxy.READERS:
        empty = {**dict.fromkeys(texts, ""), "ip-addr": texts["ip-addr"]}
        rules = proxy.read(mode, empty)
        assert rules.faults
        assert rules.services == {}
