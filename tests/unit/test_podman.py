"""The podman provider without root or podman: what it asks of the host, and what it tells podman."""

from __future__ import annotations

import os
import resource
from ipaddress import IPv4Interface
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lab import providers, shell
from lab.config import from_values
from lab.errors import BringUpError
from lab.host_kernel import HostKernel
from lab.netns import Namespace
from lab.providers import podman_engine, podman_faults, podman_node
from lab.providers.base import Provider
from lab.providers.podman import PodmanProvider
from lab.providers.podman_engine import Container, Engine
from lab.providers.podman_node import Node
from lab.state import LabState

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab.netns import Process

NOWHERE = Namespace(pid=2**22 + 1, started=0, boot="never")


class FakeEngine(Engine):
    """Runs `cp` here, and only remembers everything else."""

    def run(self, *argv: str | Path, timeout: float = 60, check: bool = True) -> shell.Result:
        words = [str(word) for word in argv]
        if words[0] == "cp":
            return shell.run(words, timeout=timeout, check=check)
        SEEN.append(words)
        return shell.Result(tuple(words), 0, "", "", 0.0)


class FakeNamespace(Namespace):
    """Has the processes it is told to have."""

    argvs: tuple[tuple[str, ...], ...] = ()

    def processes(self) -> Iterator[Process]:
        from lab.netns import Process  # noqa: PLC0415

        yield from (Process(number, argv) for number, argv in enumerate(self.argvs, 2))


SEEN: list[list[str]] = []


@pytest.fixture
def engine() -> FakeEngine:
    SEEN.clear()
    return FakeEngine(NOWHERE, "kube-service-lab-test")


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(
        name="node01",
        number=1,
        address=IPv4Interface("192.168.1.201/24"),
        gateway=IPv4Interface("192.168.1.1/24"),
        folder=tmp_path / "nodes" / "node01",
        memory=1500,
        cpus=2,
    )


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    store = root / "var/lib/containerd"
    for file in (
        "io.containerd.metadata.v1.bolt/meta.db",
        "io.containerd.snapshotter.v1.overlayfs/metadata.db",
        "io.containerd.snapshotter.v1.overlayfs/snapshots/1/fs/var/x.db",
        "io.containerd.content.v1.content/blobs/sha256/00",
    ):
        (store / file).parent.mkdir(parents=True, exist_ok=True)
        (store / file).write_text(file)
    return root


@pytest.fixture
def provider(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PodmanProvider:
    monkeypatch.setenv("KUBE_SERVICE_LAB_STATE", str(tmp_path))
    config = from_values({"provider": "podman"})
    found = providers.get(config, LabState(config.name))
    assert isinstance(found, PodmanProvider)
    return found


def test_it_fills_the_seam_and_nothing_more(provider: PodmanProvider) -> None:
    public = {name for name in vars(PodmanProvider) if not name.startswith("_")}
    assert public <= {*vars(Provider), *Provider.__annotations__}
    assert provider.image_parts == ("tree",)
    assert {"podman", podman_engine.runtime()} <= {tool.command for tool in provider.tools}


def test_before_the_first_up_there_is_nothing_and_down_is_content(provider: PodmanProvider) -> None:
    assert set(provider.status().values()) == {"absent"}
    provider.down()
    with pytest.raises(BringUpError, match="not running"):
        provider.operator()


def test_without_root_it_says_what_to_do(provider: PodmanProvider, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert provider.faults() == [podman_faults.ROOT_NEEDED]
    assert "sudo" in podman_faults.ROOT_NEEDED
    assert "uml" in podman_faults.ROOT_NEEDED


def test_labs_of_two_state_folders_have_two_control_groups(
    provider: PodmanProvider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = provider._group
    monkeypatch.setenv("KUBE_SERVICE_LAB_STATE", str(tmp_path / "other"))
    assert provider._group != one


def test_starting_a_node(engine: FakeEngine, node: Node, tree: Path) -> None:
    node.start(engine, tree, "ssh-ed25519 KEY lab")
    mounted, started = SEEN
    assert mounted[4:10] == [
        "node01",
        str(node.folder),
        str(tree),
        "192.168.1.201",
        "192.168.1.1",
        "ssh-ed25519 KEY lab",
    ]
    words = " ".join(started)
    for wanted in (
        "CONTAINERS_CONF=/run/lab/containers.conf",
        "--network=none",
        "--privileged",
        "--cgroupns=private",
        "--cgroup-parent=/kube-service-lab-test",
        "--memory=1500m",
        "--cpu-shares=2048",
        "--pids-limit=-1",
        "/node01/disk/containerd:/var/lib/containerd",
    ):
        assert wanted in words
    assert started[-1] == podman_node.INIT_INSIDE


def test_a_nodes_store_shares_what_is_only_read(engine: FakeEngine, node: Node, tree: Path) -> None:
    node.start(engine, tree, "key")
    baked, own = tree / "var/lib/containerd", node.folder / "containerd"
    shared = {str(f.relative_to(own)): f.stat().st_nlink > 1 for f in own.rglob("*") if f.is_file()}
    assert shared == {
        "io.containerd.metadata.v1.bolt/meta.db": False,
        "io.containerd.snapshotter.v1.overlayfs/metadata.db": False,
        "io.containerd.snapshotter.v1.overlayfs/snapshots/1/fs/var/x.db": True,
        "io.containerd.content.v1.content/blobs/sha256/00": True,
    }
    assert all((baked / name).read_text() == (own / name).read_text() == name for name in shared)


def test_a_half_copied_store_is_copied_anew_and_a_whole_one_kept(
    engine: FakeEngine, node: Node, tree: Path
) -> None:
    (node.folder / "containerd.new").mkdir(parents=True)
    (node.folder / "containerd.new" / "half").write_text("")
    node.start(engine, tree, "key")
    assert not (node.folder / "containerd" / "half").exists()
    (node.folder / "containerd" / "own").write_text("")
    node.start(engine, tree, "key")
    assert (node.folder / "containerd" / "own").exists()


def test_a_node_stays_with_the_tree_its_disk_lies_over(engine: FakeEngine, node: Node, tree: Path) -> None:
    node.start(engine, tree, "key")
    node.start(engine, tree.with_name("newer"), "key")
    assert SEEN[-2][6] == str(tree)
    tree.rename(tree.with_name("gone"))
    with pytest.raises(BringUpError, match="is gone"):
        node.start(engine, tree, "key")


def test_attaching_needs_a_running_container(engine: FakeEngine, node: Node) -> None:
    node.attach(engine, Container("node01", "running", 77))
    assert SEEN[-1][4:] == ["77", "lab-vm1", "192.168.1.201/24", "192.168.1.1"]
    for container in (None, Container("node01", "exited", 0)):
        with pytest.raises(BringUpError, match="node01 ended at once"):
            node.attach(engine, container)


@pytest.mark.parametrize(
    ("argvs", "busy"),
    [
        ((("sleep", "86400"), ("/usr/bin/conmon", "--api-version")), False),
        ((("/usr/bin/podman", "run"),), True),
        ((("cp", "--archive"),), True),
        ((("sh", "-c", "…", podman_engine.MARK, "node01"),), True),
        (((),), False),
    ],
)
def test_what_a_killed_command_left_at_work(argvs: tuple[tuple[str, ...], ...], busy: bool) -> None:
    namespace = FakeNamespace(NOWHERE.pid, NOWHERE.started, NOWHERE.boot)
    object.__setattr__(namespace, "argvs", argvs)
    assert Engine(namespace, "group").busy() is busy


def test_limits_never_exceed_the_hard_ones_without_the_capability(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1024, 20000))
    monkeypatch.setattr(podman_node, "CAP_SYS_RESOURCE", 63)  # nobody has it
    assert podman_node.limit("nofile") == 20000
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1024, resource.RLIM_INFINITY))
    assert podman_node.limit("nofile") == 1048576


def test_kernel_faults_name_the_option_and_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "cgroup.controllers").write_text("cpu memory\n")
    bare = HostKernel("6.1.0", {}, frozenset(), frozenset({"ext4"}))
    faults = podman_faults.kernel_faults(bare, root=tmp_path)
    assert len(faults) == 3
    for word, fault in zip(("OVERLAY", "BRIDGE_NETFILTER", "cpuset, pids"), faults, strict=True):
        assert word in fault
    assert all("uml" in fault for fault in faults)


def test_too_few_inotify_instances(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "fs/inotify/max_user_instances"
    file.parent.mkdir(parents=True)
    file.write_text("128\n")
    monkeypatch.setattr(podman_faults, "inotify_left", lambda wanted: min(wanted, 50))
    faults = [fault for fault in podman_faults.limit_faults(3, 2, sysctls=tmp_path) if "inotify" in fault]
    assert len(faults) == 1
    assert "is 128, 50 are left, 6 nodes need 114: " in faults[0]
    assert "sysctl -w fs.inotify.max_user_instances=512" in faults[0]
    assert not [fault for fault in podman_faults.limit_faults(1, 1, sysctls=tmp_path) if "inotify" in fault]


def test_the_inotify_instances_that_are_left_are_counted_by_making_them() -> None:
    limit = int(Path("/proc/sys/fs/inotify/max_user_instances").read_text())
    left = podman_faults.inotify_left(limit + 1)
    assert left <= limit, "more than the kernel gives"
    assert podman_faults.inotify_left(min(left, 3)) == min(left, 3), "the first time has kept them"


def test_where_a_disk_cannot_be(tmp_path: Path) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text("o / overlay rw 0 0\n/dev/a /data ext4 rw 0 0\ntmpfs /run tmpfs rw 0 0\n")
    assert podman_faults.place_faults(Path("/data/lab"), mounts=mounts) == []
    assert "overlay" in podman_faults.place_faults(Path("/root/lab"), mounts=mounts)[0]
    assert "cannot see it" in podman_faults.place_faults(Path("/run/lab"), mounts=mounts)[0]
