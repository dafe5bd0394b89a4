"""What `kube-proxy-leftovers` tells iptables-restore to remove, on dumps of nodes that were switched."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from lab import proxy
from lab.paths import share
from lab.proxy.residue import residue

PROGRAM = share("playbooks") / "roles/kube_proxy/files/foreign-chains.awk"
DUMPS = Path(__file__).parent.parent / "proxy" / "dumps"
KUBELETS = {"KUBE-FIREWALL", "KUBE-IPTABLES-HINT", "KUBE-KUBELET-CANARY"}

pytestmark = pytest.mark.skipif(shutil.which("awk") is None, reason="needs awk")


def removal(mode: str, saved: str) -> str:
    done = subprocess.run(
        ["awk", "-v", f"mode={mode}", "-f", PROGRAM], input=saved, capture_output=True, text=True, check=True
    )
    return done.stdout


def removed(mode: str, saved: str) -> str:
    """The dump after iptables-restore has done what it is told; fails where it would refuse."""
    gone: dict[str, set[str]] = {}
    flushed: dict[str, set[str]] = {}
    rules: dict[str, list[str]] = {}
    table = ""
    for line in removal(mode, saved).splitlines():
        if line.startswith("*"):
            table = line[1:]
            gone[table], flushed[table], rules[table] = set(), set(), []
        elif line.startswith(":"):
            flushed[table].add(line[1:].split()[0])
        elif line.startswith("-D "):
            rules[table].append("-A " + line[3:])
        elif line.startswith("-X "):
            gone[table].add(line[3:])
    assert gone == flushed, "a chain is emptied before it is removed"
    kept: list[str] = []
    for line in saved.splitlines():
        if line.startswith("*"):
            table = line[1:]
        chain = (
            line[1:].split()[0] if line.startswith(":") else line.split()[1] if line.startswith("-A ") else ""
        )
        if chain in gone.get(table, ()):
            continue
        if line in rules.get(table, ()):
            rules[table].remove(line)
            continue
        jump = line.split(" -j ")[-1].split()[0] if " -j " in line else ""
        assert jump not in gone.get(table, ()), f"{line} holds a chain that is to go"
        kept.append(line)
    assert not any(rules.values()), "only rules that are there are deleted"
    return "\n".join(kept) + "\n"


def dump(run: str) -> str:
    return (DUMPS / run / "iptables-save").read_text()


def left(mode: str, saved: str) -> list[str]:
    return residue(mode, dict.fromkeys(proxy.COMMANDS, "") | {"ip-addr": "[]", "iptables-save": saved})


@pytest.mark.parametrize(
    ("mode", "run"),
    [
        ("iptables", "switched/iptables-after-ipvs"),
        ("nftables", "switched/nftables-after-ipvs"),
        ("nftables", "lab/iptables/node01"),
        ("nftables", "switched/ipvs-unfinished"),
    ],
)
def test_nothing_of_other_modes_is_left(mode: str, run: str) -> None:
    assert left(mode, dump(run)), "the dump shows what kube-proxy leaves"
    assert not [sentence for sentence in left(mode, removed(mode, dump(run))) if "iptables " in sentence]


@pytest.mark.parametrize("mode", ["iptables", "ipvs", "nftables"])
def test_kubelets_chains_stay(mode: str) -> None:
    saved = dump("lab/iptables/node01")
    assert all(f":{chain} " in removed(mode, saved) for chain in KUBELETS)


def test_the_living_mode_is_not_touched() -> None:
    assert removal("iptables", dump("lab/iptables/node01")) == ""


def test_nothing_is_left_when_the_machine_is_given_back() -> None:
    assert "KUBE-" not in removed("none", dump("lab/iptables/node01"))
