"""What is wrong with machines that exist, by what they say: captured answers, changed in one place each."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from lab.config import Config, from_values
from lab.providers import ssh_faults
from lab.providers.ssh_probe import Probe, script

#: A user-mode machine of Debian 12, an ordinary user with sudo, asked by `ssh_probe.sh`.
CAPTURED = Probe.of((Path(__file__).parent / "debian12.txt").read_text())
MINE = "lab 8c3f owner"


def config(**more: object) -> Config:
    nodes = [{"name": "node00", "address": "192.168.77.10"}, {"name": "node01", "address": "192.168.77.11"}]
    return from_values({"provider": "ssh", "nodes": nodes, **more})


def with_said(**said: str) -> Probe:
    return replace(CAPTURED, said={**CAPTURED.said, **{k.replace("_", "-"): v for k, v in said.items()}})


def faults(
    probe: Probe, *, master: bool = False, mine: str = "", adopt: bool = False, mode: str = "iptables"
) -> list[str]:
    lab = config(proxy={"mode": mode})
    node = lab.node("node01")
    if master:
        lab = lab.model_copy(update={"nodes": (node, lab.nodes[0])})
    return list(ssh_faults.of_machine(lab, node, probe, mine=mine, adopt=adopt))


def test_what_a_machine_says_is_read() -> None:
    assert CAPTURED.release["ID"] == "debian"
    assert str(CAPTURED.addresses[0]) == "192.168.77.11/24"
    assert 22 in CAPTURED.listening
    assert CAPTURED.kernel.has("IP_VS", "ip_vs") is True
    assert CAPTURED.kernel.lacks("ipvs") == []


@pytest.mark.parametrize("mode", ["iptables", "ipvs", "nftables"])
def test_a_machine_that_is_as_it_should_be_has_no_fault(mode: str) -> None:
    assert faults(CAPTURED, mode=mode) == []


LISTENING_10250 = "  0: 00000000:280A 00000000:0000 0A 0 0 0"
VXLAN_BOUND = "  0: 00000000:2118 00000000:0000 07 0 0 0"


@pytest.mark.parametrize(
    ("said", "fault"),
    [
        ({"swap": "/dev/sda2 partition 1048572 0 -2"}, "swap is on (/dev/sda2)"),
        ({"ports": LISTENING_10250}, "port 10250 is in use, which kubelet needs"),
        ({"udp": VXLAN_BOUND}, "UDP port 8472 is in use, which flannel needs"),
        ({"controllers": "cpu pids"}, "control groups without cpuset, memory"),
        (
            {"options": "CONFIG_NF_TABLES=y", "loaded": "", "modules": ""},
            "lacks what nftables mode needs: NF",
        ),
        ({"release": "5.4.0-9"}, "lacks what nftables mode needs: Linux 5.13 or newer"),
        ({"disk": "/dev/sda1 8000000 7000000 1000000 88% /"}, "976 MiB free for /var/lib, 3072 are needed"),
        ({"memory": "524288"}, "512 MiB of memory, 900 are needed"),
        (
            {"kubernetes": "/etc/kubernetes\n/var/lib/etcd"},
            "(/etc/kubernetes /var/lib/etcd): it is left alone",
        ),
        ({"programs": "/usr/local/bin/kubelet"}, "there is a Kubernetes already (/usr/local/bin/kubelet)"),
        ({"owner": "other 77aa someone"}, "it belongs to another lab (other)"),
        ({"runtimes": "docker"}, "docker is installed"),
        ({"ipvs": "3"}, "ip_vs has 3 virtual servers"),
        (
            {"system": 'ID=fedora\nVERSION_ID=43\nPRETTY_NAME="Fedora 43"'},
            "Fedora 43 is not a supported system",
        ),
        ({"system": 'ID=debian\nVERSION_ID="11"'}, "debian 11 is not a supported system"),
        ({"machine": "aarch64"}, "its processor is aarch64"),
        ({"init": "runit"}, "systemd does not run it (runit does)"),
        ({"apt": ""}, "there is no apt-get"),
        ({"python": ""}, "there is no python3"),
        ({"python": "3.7"}, "its Python is 3.7"),
        ({"sudo": "sudo: a password is required"}, "alice does not become root without a password"),
        ({"firewalls": "ufw"}, "ufw is active"),
        (
            {"addresses": "2: eth0 inet 10.0.2.15/24 brd 10.0.2.255 scope global"},
            "is on none of its interfaces",
        ),
        (
            {"addresses": "2: a inet 192.168.77.11/24 scope global\n3: b inet 10.244.9.1/24 scope global"},
            "its network 10.244.9.0/24 overlaps kubernetes.pod_cidr",
        ),
    ],
)
def test_each_fault_is_told_alone(said: dict[str, str], fault: str) -> None:
    mode = "nftables" if "release" in said or "modules" in said else "iptables"
    found = faults(with_said(**said), mode=mode)
    assert any(fault in line for line in found), found
    if "modules" not in said:
        assert len(found) == 1, found


def test_the_masters_own_ports_are_only_the_masters() -> None:
    busy = with_said(ports="  0: 00000000:192B 00000000:0000 0A 0 0 0", memory="1600000")
    assert faults(busy) == []
    assert faults(busy, master=True) == [
        "1562 MiB of memory, 1700 are needed",
        "port 6443 is in use, which kube-apiserver needs",
    ]


def test_what_is_this_labs_own_is_no_fault() -> None:
    ours = with_said(
        owner=MINE, kubernetes="/etc/kubernetes", ports=LISTENING_10250, programs="/usr/local/bin/runc"
    )
    assert faults(ours, mine=MINE) == []
    assert faults(ours, mine="lab 0000 owner") != []


def test_adopt_takes_a_kubernetes_and_its_ports_but_not_a_runtime() -> None:
    there = with_said(kubernetes="/etc/kubernetes", ports=LISTENING_10250)
    assert faults(there, adopt=True) == []
    assert len(faults(there)) == 2
    assert faults(with_said(kubernetes="/etc/kubernetes", runtimes="k3s"), adopt=True) != []


@pytest.mark.parametrize(
    ("refusal", "fault"),
    [
        ("Host key verification failed.", "its host key is not known"),
        ("alice@192.168.77.11: Permission denied (publickey).", "see ssh.user and ssh.key"),
        ("ssh: connect to host 192.168.77.11 port 22: No route to host", "No route to host"),
    ],
)
def test_a_machine_that_lets_nobody_in(refusal: str, fault: str) -> None:
    (found,) = faults(Probe({}, refusal=refusal))
    assert fault in found


def test_what_machines_share_and_may_not() -> None:
    other = with_said(name="other", machine_id="b" * 32, boot_id="b")
    assert list(ssh_faults.of_all({"node00": CAPTURED, "node01": other})) == []
    assert len(list(ssh_faults.of_all({"node00": CAPTURED, "node01": CAPTURED}))) == 3
    (clock,) = ssh_faults.of_all({"node00": CAPTURED, "node01": replace(other, ahead=-120.0)})
    assert clock.startswith("node01: its clock is 120 s behind this host's")
    assert (
        list(ssh_faults.of_all({"node00": Probe({}, refusal="no"), "node01": Probe({}, refusal="no")})) == []
    )


def test_the_script_asks_for_what_the_modes_need() -> None:
    text = script()
    assert "NFT_NUMGEN" in text
    assert "ip_vs_rr" in text
    assert text.rstrip().endswith("say end")
