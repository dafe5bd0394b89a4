"""What machines that do not boot our disk are given instead."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from lab import paths, providers, vagrant_box
from lab.config import Config, VagrantConfig
from lab.sources import built, bundle

BAKED = set(bundle.PARTS)


@pytest.fixture
def source(monkeypatch: pytest.MonkeyPatch) -> bundle.BundleSource:
    """The source with all in its store that a machine of its own gets: empty programs and images."""
    source = bundle.BundleSource()
    make = built.builder(Config().kubernetes.version)
    for name in (make.components.resolve(need).name for need in bundle.installed(make)):
        facts = {"image": f"registry.example/{name.removeprefix('images-')}:1"} if "images-" in name else {}
        with make.store.staging(name) as folder:
            (folder / "out" / "bin").mkdir(parents=True)
            (folder / "out" / "bin" / name).touch()
            digest = make.digest(name)
            make.store.commit(folder / "out", name=name, version="1", digest=digest, seconds=1, facts=facts)
    monkeypatch.setattr(built, "builder", lambda _version: make)
    return source


def of(provider: str) -> Config:
    return Config().model_copy(update={"provider": provider})


def test_they_need_neither_disk_nor_kernel_nor_root() -> None:
    names = bundle.wanted("ssh", built.builder(Config().kubernetes.version))
    assert not {"node-disk", "node-tree", "node-root", "kernel"} & set(names)
    assert {"containerd", "runc", "kubernetes", "images-etcd", "prober"} <= set(names)


def test_they_get_every_program_and_image_from_this_host(source: bundle.BundleSource) -> None:
    told = source.extravars(of("ssh"))
    assert told["machines_baked"] is False
    assert told["bundle_remote_src"] is False
    dests = {program["dest"] for program in told["binaries"]}
    assert {"/usr/local/bin/containerd", "/usr/local/bin/prober", "/opt/cni/bin/cni-plugins"} <= dests
    assert all(Path(p["src"]).is_relative_to(source._builder(of("ssh")).store.root) for p in told["binaries"])
    assert "registry.example/kube-proxy:1" in {image["name"] for image in told["images"]}
    assert source.machine_image(of("ssh")) == {}


def test_every_package_they_need_is_in_the_root_of_the_others() -> None:
    role = yaml.safe_load(paths.share("playbooks/roles/packages/defaults/main.yml").read_text())
    root = yaml.safe_load(paths.share("bundle/node-root/component.yaml").read_text())
    assert set(role["packages_names"]) <= set(root["packages"])


def test_every_provider_that_bakes_is_in_the_table() -> None:
    assert set(providers.PROVIDERS) >= BAKED - {vagrant_box.NAME}


def test_virtual_machines_are_baked_when_they_are_of_our_box() -> None:
    stock = of("vagrant")
    ours = stock.model_copy(update={"vagrant": VagrantConfig(box=vagrant_box.NAME)})
    assert bundle.machines(stock) not in BAKED
    make = built.builder(Config().kubernetes.version)
    assert {"node-box"} == set(bundle.wanted(bundle.machines(ours), make)) - set(bundle.PROGRAMS.values())
    assert bundle.machines(ours.model_copy(update={"provider": "uml"})) == "uml"
