"""What is read from the host's apt and from recipes, without a network."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest
import yaml

from lab import paths
from lab.bundle import apt
from lab.bundle.kinds import disk, go, kernel, root
from lab.bundle.runner import BuildError


def test_the_mirror_of_one_line_sources(tmp_path: Path) -> None:
    (tmp_path / "sources.list").write_text(
        "# deb http://commented.example/debian trixie main\n"
        "deb [arch=amd64 signed-by=/k.gpg] http://mirror.example/debian/ trixie main\n"
        "deb http://other.example/debian-security trixie-security main\n"
    )
    assert apt.mirror(tmp_path) == "http://mirror.example/debian"
    assert apt.security_mirror(tmp_path) == "http://other.example/debian-security"


def test_the_mirror_of_deb822_sources(tmp_path: Path) -> None:
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / "sources.list.d" / "debian.sources").write_text(
        "Types: deb\nURIs: http://disabled.example/debian\nSuites: sid\nEnabled: no\n\n"
        "Types: deb deb-src\nURIs: http://mirror.example/debian\nSuites: bookworm bookworm-updates\n"
    )
    assert apt.mirror(tmp_path) == "http://mirror.example/debian"
    assert apt.security_mirror(tmp_path) == apt.DEFAULT + "-security"


def test_another_distribution_gets_debians_default(tmp_path: Path) -> None:
    (tmp_path / "sources.list").write_text("deb http://archive.example/ubuntu noble main\n")
    assert apt.mirror(tmp_path) == apt.DEFAULT


def test_a_private_state_names_nothing_of_the_host(tmp_path: Path) -> None:
    env = apt.private_state(tmp_path / "apt", ["forky", "sid"])
    text = Path(env["APT_CONFIG"]).read_text()
    assert f'Dir::State "{tmp_path}/apt/state";' in text
    assert len((tmp_path / "apt" / "etc" / "sources.list").read_text().splitlines()) == 2


def test_an_option_that_the_kernel_does_not_take_is_named() -> None:
    fragment = "CONFIG_A=y\n# CONFIG_B is not set\nCONFIG_C=4\nCONFIG_D=y\n"
    config = "CONFIG_A=y\nCONFIG_B=y\nCONFIG_C=4\n"
    assert kernel.unmet(fragment, config) == [
        "CONFIG_B: asked for n, got y",
        "CONFIG_D: asked for y, got n",
    ]


@pytest.mark.parametrize(
    ("package", "names"),
    [
        ("linux-source-7.2", ["faster.patch", "mends.patch"]),
        ("linux-source-7.3", ["mends.patch"]),
    ],
)
def test_a_patch_for_tested_series_leaves_others_alone(
    tmp_path: Path, package: str, names: list[str]
) -> None:
    for name in ("mends.patch", "faster.patch", "kernel.config"):
        (tmp_path / name).touch()
    spec = kernel.KernelSpec(
        kind="kernel", minimum="6.16", tested=("7.2",), tested_only=("faster.patch",), suites=("sid",)
    )
    assert [file.name for file in kernel.patches(spec, tmp_path, package)] == names


def test_a_recipe_that_names_a_patch_it_does_not_have(tmp_path: Path) -> None:
    spec = kernel.KernelSpec(kind="kernel", minimum="6.16", tested_only=("gone.patch",), suites=("sid",))
    with pytest.raises(BuildError, match=r"no gone\.patch, which its tested_only names"):
        kernel.patches(spec, tmp_path, "linux-source-7.2")


def test_what_go_calls_a_program() -> None:
    assert go.program_name("go.etcd.io/etcd/server/v3") == "server"
    assert go.program_name("k8s.io/kubernetes/cmd/kubelet") == "kubelet"
    assert go.program_name(".") == ""


def test_the_overlay_of_a_root(tmp_path: Path) -> None:
    files = tmp_path / "files"
    (files / "usr/local/bin").mkdir(parents=True)
    (files / "usr/local/bin/tool").write_text("#!/bin/sh\n")
    (files / "plain").write_text("plain")
    spec = root.RootSpec(
        kind="root",
        suite="x",
        packages=("a",),
        mask=("a.service",),
        mask_generators=("g",),
        empty=("/etc/id",),
    )
    assert root.write_overlay(tmp_path / "o.tar", spec, files) == 5
    with tarfile.open(tmp_path / "o.tar") as tar:
        entries = {entry.name: entry for entry in tar}
    assert entries["usr/local/bin/tool"].mode == 0o755
    assert entries["plain"].mode == 0o644
    assert entries["etc/id"].size == 0
    assert entries["etc/systemd/system/a.service"].linkname == "/dev/null"
    assert entries["etc/systemd/system-generators/g"].linkname == "/dev/null"


@pytest.fixture
def playbooks(tmp_path: Path) -> Path:
    folder = tmp_path / "playbooks"
    for role in ("used", "also", "unused"):
        (folder / "roles" / role / "tasks").mkdir(parents=True)
        (folder / "roles" / role / "tasks" / "main.yml").write_text("[]")
    (folder / "bake.yml").write_text(
        yaml.safe_dump(
            [
                {"import_playbook": "prepare.yml"},
                {"hosts": "all", "roles": [{"role": "also"}]},
            ]
        )
    )
    (folder / "prepare.yml").write_text(
        yaml.safe_dump([{"hosts": "all", "tasks": [{"ansible.builtin.import_role": {"name": "used"}}]}])
    )
    return folder


@pytest.mark.parametrize(("role", "matters"), [("used", True), ("also", True), ("unused", False)])
def test_the_disk_depends_on_the_roles_that_bake_it(playbooks: Path, role: str, matters: bool) -> None:
    before = disk.playbooks_digest(playbooks)
    (playbooks / "roles" / role / "tasks" / "main.yml").write_text("[{}]")
    assert (disk.playbooks_digest(playbooks) != before) is matters


def test_every_recipe_of_the_project_is_sound() -> None:
    from lab.sources import built  # noqa: PLC0415 -- only this test needs the real recipes

    builder = built.builder("1.37.2")
    for name, component in builder.components.by_name.items():
        assert builder.kind(component)
        assert len(builder.digest(name)) == 64
    assert (paths.share("bundle") / "node-disk" / "component.yaml").exists()
