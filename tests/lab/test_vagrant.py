"""Virtual machines, for real: libvirt's, with KVM or with an emulated processor where there is none.

Where the host runs no libvirtd the tests start one of their own. Only `tox -e vagrant` runs this: an emulated
processor takes its time.
"""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

import libvirtd
import pytest
from harness import LAB, Lab, wait_until_gone
from raised import raise_lab

from lab import paths, vagrant_box
from lab.providers.vagrant_hypervisor import has_kvm

pytestmark = pytest.mark.vagrant
PATIENT = f"""\
provider: vagrant
kubernetes: {{control_plane_timeout: 1800, settle_timeout: 1800}}
network: {{plugin: routed}}
machine: {{cpus: 2}}
vagrant: {{box: {vagrant_box.NAME}, boot_timeout: 900}}
"""
MASTER, NODE = "{name: master, address: 192.168.1.200}", "{name: node01, address: 192.168.1.201}"
SUITES = ("test_nodes.py", "test_clusterip.py")
#: What is asked of a machine: who and where it is, and whether it has what a node needs.
LOOK = """
hostname; hostname --fqdn; ip -4 -o address show eth1 | awk '{print $4}'
grep -qx "$(hostname)" /etc/hostname && grep -q 192.168.1.200 /etc/hosts && echo named
modprobe ip_vs_rr && ipvsadm -A -t 192.0.2.1:80 -s rr && ipvsadm -ln | grep -c 192.0.2.1:80; ipvsadm -C
ctr -n k8s.io images list -q | grep -c kube-service-lab.local; lsmod | grep -c br_netfilter
grep -c ^nameserver /etc/resolv.conf; cat /sys/devices/system/clocksource/clocksource0/current_clocksource
ip route add 198.51.100.0/24 via 192.168.1.1; systemctl restart systemd-networkd; sleep 5
ip route show 198.51.100.0/24 | grep -c via; cat /etc/kube-service-lab/prepared
"""


@pytest.fixture(scope="module")
def root() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="ksl-"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def where(root: Path) -> Iterator[tuple[str, ...]]:
    """The argv prefix that gets a command to where libvirt is."""
    if not libvirtd.answers() and os.geteuid() != 0:
        pytest.skip("this host runs no libvirtd, and only root can start one")
    with libvirtd.system(root) as prefix:
        yield prefix


@pytest.fixture(scope="module")
def home(root: Path) -> dict[str, str]:
    """Vagrant's own folder, so that the user's boxes are left alone."""
    return {"VAGRANT_HOME": str(root / "vagrant.d"), "VAGRANT_CHECKPOINT_DISABLE": "1"}


@pytest.fixture
def lab(root: Path, where: tuple[str, ...], home: dict[str, str]) -> Iterator[Lab]:
    folder = root / "lab"
    folder.mkdir()
    made = Lab("vagrant", folder, command=(*where, "env", f"PATH={os.environ['PATH']}", str(LAB)), env=home)
    yield made
    made.named("down", timeout=600).assert_success()
    assert virsh(where, "list", "--all", "--name") == []
    assert [name for name in virsh(where, "net-list", "--all", "--name") if "kube-service-lab" in name] == []
    assert wait_until_gone(made) == []


def virsh(where: tuple[str, ...], *words: str) -> list[str]:
    argv = [*where, "virsh", "--connect", "qemu:///system", *words]
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True).stdout.split()


def vagrant(where: tuple[str, ...], home: dict[str, str], project: Path, *words: str, timeout: float) -> str:
    """What a plain `vagrant` says, in a folder with our Vagrantfile."""
    # nsenter begins in the root folder, whatever folder it is started in.
    env = {**home, "VAGRANT_CWD": str(project)}
    done = subprocess.run(
        [*where, "env", *(f"{key}={value}" for key, value in env.items()), "vagrant", *words],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("hypervisor", ["libvirt", "virtualbox"])
def test_vagrant_takes_the_vagrantfile(tmp_path: Path, home: dict[str, str], hypervisor: str) -> None:
    shutil.copy(paths.share("Vagrantfile"), tmp_path)
    (tmp_path / "lab.yaml").write_text(f"vagrant: {{hypervisor: {hypervisor}}}\n")
    # Or Vagrant asks whether the hypervisor is there, before it looks at what it is told.
    assert "successfully" in vagrant((), home, tmp_path, "validate", "--ignore-provider", timeout=60)
    (tmp_path / "Vagrantfile").write_text(
        (tmp_path / "Vagrantfile").read_text().replace("hostname", "hostnam")
    )
    with pytest.raises(AssertionError, match="hostnam"):
        vagrant((), home, tmp_path, "validate", "--ignore-provider", timeout=60)


def test_vagrant_takes_a_box_by_our_catalogue_and_keeps_both_of_two(
    tmp_path: Path, home: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for key, value in home.items():
        monkeypatch.setenv(key, value)
    metadata = b'{"provider": "libvirt", "format": "qcow2", "virtual_size": 1}'
    file = tmp_path / "kube-service-lab.box"
    with tarfile.open(file, "w") as tar:
        entry = tarfile.TarInfo("metadata.json")
        entry.size = len(metadata)
        tar.addfile(entry, io.BytesIO(metadata))
    versions = []
    for digest in ("0000abcd", "0000abce", "0000abce"):
        (tmp_path / "artifact.json").write_text(json.dumps({"digest": digest * 8}))
        versions.append(vagrant_box.add(file, "1.37.2"))
    assert versions == ["1.37.2.43981", "1.37.2.43982", "1.37.2.43982"]
    listed = vagrant((), home, tmp_path, "box", "list", timeout=60)
    assert [listed.count(version) for version in versions] == [1, 1, 1], listed


def test_libvirt_by_vagrant_knows_of_no_machine_before_there_is_one(lab: Lab, where: tuple[str, ...]) -> None:
    file = lab.root / "lab.yaml"
    file.write_text(f"name: {lab.name}\n{PATIENT}")
    found = lab.run("doctor", "--config", str(file), timeout=120)
    assert "libvirt does not answer" not in found.stdout + found.stderr, str(found)
    ask = """
import sys
from lab.config import load
from lab.providers.vagrant import VagrantProvider
from lab.state import LabState, write_json
from pathlib import Path
config = load(Path(sys.argv[1]))
state = LabState(config.name)
state.make()
state.write_config(config)
provider = VagrantProvider(config, state)
assert provider.faults() == [], provider.faults()
provider._take_notes({})
print(sorted(provider.status().items()))
"""
    argv = [*where, sys.executable, "-c", ask, str(file)]
    done = subprocess.run(
        argv, env=lab.environment(), capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "[('master', 'absent'), ('node01', 'absent'), ('node02', 'absent')]\n"
    # And down, which the fixture does, is content.


@pytest.mark.timeout(1200)
def test_a_plain_vagrant_up_makes_a_machine_and_says_what_to_run_next(
    root: Path, where: tuple[str, ...], home: dict[str, str]
) -> None:
    project = root / "project"
    project.mkdir()
    shutil.copy(paths.share("Vagrantfile"), project)
    built = subprocess.run([LAB, "box", "build", "-o", "json"], env={**os.environ, **home}, check=True)
    assert built.returncode == 0
    (project / "lab.yaml").write_text(f"{PATIENT}nodes: [{MASTER}]\n")
    try:
        said = vagrant(where, home, project, "up", "--provider", "libvirt", timeout=900)
        assert "lab up --provider vagrant" in said
        look = vagrant(where, home, project, "ssh", "-c", LOOK, timeout=120).split()
        assert look[:4] == ["master", "master", "192.168.1.200/24", "named"]
        assert int(look[4]) == 1, "no table of virtual servers: ip_vs does not work"
        assert int(look[5]) >= 11, "images are missing"
        assert int(look[6]) >= 1, "the modules of the role node are not loaded"
        assert int(look[7]) == 1, "no DNS server by DHCP: kubelet and CoreDNS need one"
        assert look[8] in ("tsc", "kvm-clock"), "every look at the clock is slow"
        assert int(look[9]) == 1, "systemd-networkd removes routes that are not its own, as those to pods"
        assert len(look[10]) == 64
    finally:
        vagrant(where, home, project, "destroy", "--force", timeout=300)


@pytest.mark.timeout(5400)
def test_a_cluster_on_virtual_machines_serves_in_ipvs_mode(lab: Lab) -> None:
    """By the kernel of a distribution, as a module: the second, independent proof of the mode."""
    # Emulated, each machine takes a processor of the host for itself.
    nodes = "" if has_kvm() else f"nodes: [{MASTER}, {NODE}]\n"
    raised = raise_lab(lab, f"{PATIENT}{nodes}proxy: {{mode: ipvs}}\n", timeout=3600)
    status = lab.named("status", "-o", "json").assert_success().json()
    assert {node["kubernetes"] for node in status["nodes"]} == {"Ready"}
    assert {node["proxy_mode"] for node in status["nodes"]} == {"ipvs"}
    said = lab.named("exec", "master", "--", "lsmod").assert_success().stdout
    assert re.search(r"^ip_vs_rr +\d+ +[1-9]", said, re.MULTILINE), (
        "kube-proxy's servers are not the module's"
    )
    tested = lab.named("test", *SUITES, timeout=1500)
    print(tested)
    tested.assert_success()
    assert "Nothing had to be changed." in raised.again(timeout=1200).assert_success().stderr
