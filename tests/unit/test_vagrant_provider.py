"""The vagrant provider without virtual machines: what it asks of the host, and what it tells Vagrant."""

from __future__ import annotations

import json
import os
from ipaddress import IPv4Network
from pathlib import Path

import pytest
from fake_vagrant import Host

from lab import paths, providers, vagrant_box
from lab.config import Config, from_values
from lab.errors import BringUpError, LabError, WaitTimeout
from lab.providers import vagrant, vagrant_hypervisor
from lab.providers.base import Provider
from lab.providers.vagrant import VagrantProvider
from lab.providers.vagrant_hypervisor import has_kvm, vbox_ranges
from lab.state import LabState

VAGRANT = {"provider": "vagrant"}


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    found = Host(tmp_path / "host")
    monkeypatch.setenv("PATH", f"{found.bin}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("FAKE_VAGRANT", str(found.folder))
    monkeypatch.setenv("KUBE_SERVICE_LAB_STATE", str(tmp_path / "state"))
    monkeypatch.setattr(vagrant_hypervisor, "has_kvm", lambda: True)
    return found


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout of its own, where a plain `vagrant up` may have been."""
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.setattr(paths, "share", folder.joinpath)
    return folder


def make(values: dict[str, object] | None = None) -> VagrantProvider:
    config = from_values({**VAGRANT, **(values or {})})
    state = LabState(config.name)
    found = providers.get(config, state)
    assert isinstance(found, VagrantProvider)
    return found


@pytest.fixture
def provider(host: Host, project: Path) -> VagrantProvider:
    del host, project
    found = make()
    found.state.make()
    # Only to be read: the real one makes it with ssh-keygen.
    found.state.ssh_key.with_suffix(".pub").write_text("ssh-ed25519 AAAA kube-service-lab\n")
    return found


def test_it_fills_the_seam_and_nothing_more(provider: VagrantProvider) -> None:
    public = {name for name in vars(VagrantProvider) if not name.startswith("_")}
    assert public <= {*vars(Provider), *Provider.__annotations__}
    assert {tool.command for tool in provider.further_tools()} >= {"virsh", "qemu-system-x86_64"}


def test_before_the_first_up_there_is_nothing_and_vagrant_is_not_asked(
    provider: VagrantProvider, host: Host
) -> None:
    assert set(provider.status().values()) == {"absent"}
    provider.down()
    assert host.calls() == []


def test_up_makes_the_machines_and_lets_the_labs_key_in(provider: VagrantProvider, host: Host) -> None:
    assert provider.up({}) is True
    assert set(provider.status().values()) == {"running"}
    assert "up --provider=libvirt" in host.calls()
    for node in provider.config.nodes:
        assert "ssh-ed25519 AAAA kube-service-lab" in (host.folder / f"let-in-{node.name}").read_text()


def test_up_again_starts_nothing_and_lets_nobody_in(provider: VagrantProvider, host: Host) -> None:
    provider.up({})
    before = len(host.calls())
    (host.folder / "let-in-master").unlink()
    assert provider.up({}) is False
    assert host.calls()[before:] == ["status --machine-readable"]
    assert not (host.folder / "let-in-master").exists()


def test_the_vagrantfile_is_told_the_whole_configuration_and_names_of_the_labs_own(
    provider: VagrantProvider,
) -> None:
    provider.up({})
    told = json.loads(provider.state.machines_file.read_text())
    assert from_values({key: told[key] for key in Config.model_fields}) == provider.config
    other = VagrantProvider(provider.config, LabState("other"))
    assert told["prefix"] == provider._prefix != other._prefix


def test_a_machine_that_is_another_one_is_found_out(provider: VagrantProvider, host: Host) -> None:
    host.say("addresses", json.dumps(dict.fromkeys(["master", "node01", "node02"], "192.168.1.200")))
    with pytest.raises(BringUpError) as error:
        provider.up({})
    assert len(error.value.details) == 2
    assert "node01: is called node01 and has 192.168.121.7/24, 192.168.1.200/24" in error.value.details[0]


def test_down_destroys_and_sweeps_away_what_vagrant_forgot(provider: VagrantProvider, host: Host) -> None:
    provider.up({})
    prefix = provider._prefix
    host.say("list", f"{prefix}-node01\nsomebody-elses\nkube-service-lab-lab-master\n")
    host.say("net-list", f"{prefix}\ndefault\n")
    provider.down()
    assert "destroy --force" in host.calls()
    changes = [line for line in host.calls("virsh") if "list" not in line]
    assert changes == [
        f"destroy {prefix}-node01",
        f"undefine {prefix}-node01 --remove-all-storage --managed-save",
        f"net-destroy {prefix}",
        f"net-undefine {prefix}",
    ]
    assert set(provider.status().values()) == {"absent"}


def test_a_failure_says_what_vagrant_said(provider: VagrantProvider, host: Host) -> None:
    host.say("breaks", "")
    with pytest.raises(BringUpError) as error:
        provider.up({})
    assert "The box 'nowhere' could not be found." in error.value.details


def test_vagrant_is_bounded(provider: VagrantProvider, host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vagrant, "AROUND", 1 - 3 * provider.config.vagrant.boot_timeout)
    host.say("hangs", "")
    with pytest.raises(WaitTimeout):
        provider.up({})


def plain(project: Path) -> None:
    for name in ("master", "node01", "node02"):
        file = project / ".vagrant" / "machines" / name / "libvirt" / "id"
        file.parent.mkdir(parents=True)
        file.write_text("an id")
    nodes = dict.fromkeys(("master", "node01", "node02"), "running")
    (project / ".vagrant" / "fake.json").write_text(json.dumps(nodes))


def test_the_machines_of_a_plain_vagrant_up_are_taken_over(
    provider: VagrantProvider, host: Host, project: Path
) -> None:
    plain(project)
    host.networks({"lo": "127.0.0.1/8", "virbr1": "192.168.1.1/24"})
    assert provider.faults() == []  # the network that the host is on is the machines' own
    assert provider.up({}) is False
    assert "up --provider=libvirt" not in host.calls()
    assert (host.folder / "let-in-node02").exists()
    provider.down()
    assert not (project / ".vagrant" / "fake.json").exists()


def test_machines_of_another_lab_are_not_taken_over(
    provider: VagrantProvider, host: Host, project: Path
) -> None:
    plain(project)
    (project / "lab.yaml").write_text("name: other\n")
    assert provider.up({}) is True
    assert "up --provider=libvirt" in host.calls()
    assert (project / ".vagrant" / "fake.json").exists()


def test_a_good_host_has_no_faults_and_is_not_touched(provider: VagrantProvider) -> None:
    before = sorted(provider.state.dir.rglob("*"))
    assert provider.faults() == []
    assert sorted(provider.state.dir.rglob("*")) == before


def test_all_faults_of_a_host_at_once(
    provider: VagrantProvider, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.say("no-libvirt", "")
    host.say("plugins", "vagrant-share")
    host.networks({"eth0": "192.168.1.50/24", "vboxnet0": "192.168.1.1/24", "eth1": "10.0.0.1/8"})
    monkeypatch.setattr(vagrant_hypervisor, "has_kvm", lambda: False)
    answers, emulated, plugin, taken = provider.faults()
    assert "failed to connect to the hypervisor" in answers
    assert "kubernetes.control_plane_timeout" in emulated
    assert "vagrant plugin install vagrant-libvirt" in plugin
    assert taken.startswith("this host is 192.168.1.50 in 192.168.1.0/24 by eth0 already")


def test_emulation_is_no_fault_for_whoever_has_said_to_wait(
    host: Host, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    del host, project
    monkeypatch.setattr(vagrant_hypervisor, "has_kvm", lambda: False)
    assert make({"kubernetes": {"control_plane_timeout": 1800}}).faults() == []


@pytest.mark.parametrize(
    ("device", "flags", "usable"),
    [
        (True, "fpu vmx sse", True),
        (True, "fpu sse svm", True),
        (False, "fpu vmx sse", False),
        (True, "fpu sse hypervisor", False),
        (True, "vmxnet", False),
    ],
)
def test_kvm_is_the_device_and_a_processor_that_can(
    tmp_path: Path, *, device: bool, flags: str, usable: bool
) -> None:
    if device:
        (tmp_path / "kvm").touch()
    (tmp_path / "cpuinfo").write_text(f"processor\t: 0\nflags\t\t: {flags}\nbugs\t\t: vmx\n")
    assert has_kvm(tmp_path / "kvm", tmp_path / "cpuinfo") is usable


VIRTUALBOX: dict[str, object] = {"vagrant": {"hypervisor": "virtualbox"}}


def test_virtualbox_refuses_the_usual_addresses_with_the_line_that_allows_them(
    host: Host, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    del host, project
    file = tmp_path / "networks.conf"
    monkeypatch.setattr(vagrant_hypervisor, "VBOX_FILE", file)
    provider = make(VIRTUALBOX)
    (fault,) = provider.faults()
    assert f"put the line `* 192.168.56.0/21 192.168.1.0/24` into {file}" in fault
    # And that very line mends it.
    file.write_text("* 192.168.56.0/21 192.168.1.0/24\n")
    assert provider.faults() == []
    assert make({**VIRTUALBOX, "network": {"subnet": "192.168.60.0/24"}}).faults() == []


@pytest.mark.parametrize(
    ("text", "ranges"),
    [
        (None, ["192.168.56.0/21"]),
        ("* 10.0.0.0/8 192.168.0.0/16\n* 2001::/64\n", ["10.0.0.0/8", "192.168.0.0/16"]),
        ("# * 10.0.0.0/8\n", ["0.0.0.0/0"]),
    ],
)
def test_the_ranges_of_virtualbox(tmp_path: Path, text: str | None, ranges: list[str]) -> None:
    file = tmp_path / "networks.conf"
    if text is not None:
        file.write_text(text)
    assert list(vbox_ranges(file)) == [IPv4Network(one) for one in ranges]


def test_our_box_is_given_to_vagrant_once(provider: VagrantProvider, host: Host, tmp_path: Path) -> None:
    file = tmp_path / "node-box-0123" / "kube-service-lab.box"
    file.parent.mkdir()
    (file.parent / "artifact.json").write_text(json.dumps({"digest": "00000010" + "f" * 56}))
    provider.up({"box": file})
    assert json.loads(provider.state.machines_file.read_text())["box_version"] == "1.37.2.16"
    assert vagrant_box.add(file, "1.37.2") == "1.37.2.16"
    assert [line.split()[1] for line in host.calls() if line.startswith("box")] == ["list", "add", "list"]
    # Another box of the same Kubernetes is another version.
    (file.parent / "artifact.json").write_text(json.dumps({"digest": "00000011" + "f" * 56}))
    assert vagrant_box.add(file, "1.37.2") == "1.37.2.17"
    assert len(json.loads((host.folder / "boxes").read_text())) == 2


def test_status_without_vagrant_is_no_traceback(
    provider: VagrantProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider.up({})
    monkeypatch.setenv("PATH", "/nowhere")
    assert set(provider.status().values()) == {"absent"}
    with pytest.raises(LabError):
        provider.down()
