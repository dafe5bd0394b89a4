"""The source `upstream`: what it may be asked, what it tells the playbooks, and the check of keys."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from ansible.errors import AnsibleFilterError  # type: ignore[import-untyped]

from lab import kubeconfig, paths, pins, vagrant_box, versions
from lab.config import Config, from_values
from lab.errors import BringUpError, InputError
from lab.sources import built, upstream
from lab.sources.upstream import UpstreamSource
from lab.state import LabState

RELEASE = pins.known()[0]
DIGEST = "sha256:" + "a" * 64
# Two keys made for this test by gpg, and what gpg says of them.
FINGERPRINTS = ["D61C3A68C7227F8274FDE44F4DC557F399CD2CC2", "89EA07462D5B7B1F90C8F3C4BA35C53733FFF5D9"]
ONE = """\
-----BEGIN PGP PUBLIC KEY BLOCK-----

mDMEawVjthYJKwYBBAHaRw8BAQdACNsAeWJB4qpLSAWupfGEVmfuPIswZYl6blUM
opc8B3+0FG9uZUBzdGFuZC1pbi5leGFtcGxliJAEExYIADgWIQTWHDpoxyJ/gnT9
5E9NxVfzmc0swgUCawVjtgIbAwULCQgHAgYVCgkICwIEFgIDAQIeAQIXgAAKCRBN
xVfzmc0swr4CAQCpe+0S8gC9Jpt/GLNO4lLwQshJRnxAaNWp1OsG4AKXhQEAy/z+
tsl0JtB6BXB1+PMF2BdfntHdnhUwp+Ymtsq7bAc=
=+Q00
-----END PGP PUBLIC KEY BLOCK-----
"""
TWO = """\
-----BEGIN PGP PUBLIC KEY BLOCK-----

mDMEawVjthYJKwYBBAHaRw8BAQdAjYSw3WC2usi4XDoBJnYue64nBrA1F0xWqh+n
RlxT7im0FHR3b0BzdGFuZC1pbi5leGFtcGxliJAEExYIADgWIQSJ6gdGLVt7H5DI
88S6NcU3M//12QUCawVjtgIbAwULCQgHAgYVCgkICwIEFgIDAQIeAQIXgAAKCRC6
NcU3M//12XoIAQD7bPdi84AZn+GcTD/bzZI79TcWtml18qAtGe3uoN97KQD9Gnc3
knkj/hFBIxaznkAOycKI40XjbGnSVQi9IZWXQw0=
=ghWa
-----END PGP PUBLIC KEY BLOCK-----
"""
NEAR: dict[str, Any] = {
    "kubernetes": {"url": "http://192.168.1.1:8080", "key": "http://192.168.1.1:8080/key.asc"},
    "containerd": {"url": "http://192.168.1.1:8080", "key": "http://192.168.1.1:8080/key.asc"},
    "mirrors": {"registry.k8s.io": "http://192.168.1.1:5000", "ghcr.io": "http://192.168.1.1:5000"},
}


def asked(provider: str = "podman", **part: Any) -> Config:
    return from_values({"provider": provider, "source": "upstream", "upstream": part})


@pytest.fixture
def source(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> UpstreamSource:
    """The source with all of the lab's own in its store."""
    make = built.builder(RELEASE)
    make.store.root.mkdir(parents=True)
    for name in (*upstream.OWN_IMAGES, "prober"):
        out = tmp_path / name
        out.mkdir()
        facts = {"image": f"kube-service-lab.local/{name.removeprefix('images-')}:1"}
        make.store.commit(out, name=name, version="1", digest=make.digest(name), seconds=1, facts=facts)
    monkeypatch.setattr(built, "builder", lambda _version: make)
    monkeypatch.setattr(make, "missing_tools", lambda _names: [])
    return UpstreamSource()


def test_every_fault_of_the_part_is_told_at_once() -> None:
    with pytest.raises(InputError) as caught:
        asked(
            kubernetes={"url": "pkgs.k8s.io", "fingerprint": "DE15"},
            containerd={"keys": "x"},
            mirrors={"ghcr.io": "mirror"},
            digests={"registry.k8s.io/pause:3": "sha256:12"},
            proxy="proxy:3128",
        )
    url, digits = "is not a URL, as https://mirror.example/debian is", "hexadecimal digits"
    assert list(caught.value.details) == [
        f"upstream.kubernetes.url: 'pkgs.k8s.io' {url}",
        f"upstream.kubernetes.fingerprint: 'DE15' is not the fingerprint of a key: 40 {digits}, all of them",
        (
            "upstream.containerd.keys: unknown key; did you mean key? "
            "(there are: url, key, suite, components, fingerprint)"
        ),
        f"upstream.mirrors.ghcr.io: 'mirror' {url}",
        f"upstream.digests.registry.k8s.io/pause:3: 'sha256:12' is not a digest: sha256: and 64 {digits}",
        f"upstream.proxy: 'proxy:3128' {url}",
    ]


def test_a_fingerprint_may_be_written_as_gpg_shows_it() -> None:
    written = "de15 b144 86cd 377b 9e87  6e1a 2346 54da 9a29 6436"
    assert asked(kubernetes={"fingerprint": written}).upstream == Config().upstream


def test_a_release_must_be_pinned() -> None:
    with pytest.raises(InputError) as caught:
        from_values({"source": "upstream", "kubernetes": {"version": "1.12.0"}})
    assert "kubernetes.version: 1.12.0 is not one the source has" in caught.value.details[0]


def test_the_box_of_the_lab_has_another_source_on_it() -> None:
    box = {"provider": "vagrant", "vagrant": {"box": vagrant_box.NAME}}
    with pytest.raises(InputError) as caught:
        from_values({**box, "source": "upstream"})
    assert caught.value.details[0].startswith(
        "vagrant.box: kube-service-lab has the bundle's Kubernetes on it"
    )
    assert from_values({**box, "source": "bundle"}).source == "bundle"
    assert from_values({"provider": "vagrant", "source": "upstream"}).source == "upstream"


def test_every_release_that_can_be_built_is_pinned() -> None:
    assert pins.known() == versions.known()


@pytest.mark.parametrize("version", pins.known())
def test_the_pins_are_of_the_release_they_name(version: str) -> None:
    minor, release = version.rpartition(".")[0], pins.of(version)
    assert (
        pins.Pins.model_validate(yaml.safe_load(paths.share(f"upstream/{minor}.yaml").read_text())) == release
    )
    for package in ("kubelet", "kubeadm", "kubectl"):
        assert release.packages[package] == f"{version}-*"
    assert release.packages["cri-tools"] == f"{minor}.*"
    for image in ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy"):
        assert release.images[image].tag == f"v{version}"
    assert release.images.keys() == pins.of(RELEASE).images.keys()


def test_the_playbooks_are_told_of_every_variable_that_they_declare(source: UpstreamSource) -> None:
    told = source.extravars(asked(**NEAR))
    specs = yaml.safe_load(paths.share("playbooks/roles/inputs/meta/argument_specs.yml").read_text())
    options = specs["argument_specs"]["main"]["options"]
    assert set(told) <= set(options)
    for name in ("repositories", "pulled_images"):
        assert all(set(item) == set(options[name]["options"]) for item in told[name])


def test_placeholders_that_this_host_knows_are_filled_in(source: UpstreamSource) -> None:
    kubernetes, containerd = source.extravars(asked())["repositories"]
    assert kubernetes["url"] == "https://pkgs.k8s.io/core:/stable:/v1.37/deb/"
    assert containerd["url"] == "https://download.docker.com/linux/{distribution}"


def test_what_is_asked_for_beats_the_pins(source: UpstreamSource) -> None:
    pause = pins.of(RELEASE).images["pause"].name
    told = source.extravars(asked(digests={pause: DIGEST}, versions={"containerd.io": "2.4.1-*"}))
    assert told["package_versions"]["containerd.io"] == "2.4.1-*"
    assert next(i for i in told["pulled_images"] if i["name"] == pause)["digest"] == DIGEST
    assert told["prepared_digest"] != source.extravars(asked())["prepared_digest"]


def test_another_network_pulls_no_flannel(source: UpstreamSource) -> None:
    config = from_values({"source": "upstream", "network": {"plugin": "routed"}})
    assert not [i for i in source.extravars(config)["pulled_images"] if "flannel" in i["name"]]


def test_machines_that_reach_only_their_lan_need_mirrors_there_or_a_proxy(source: UpstreamSource) -> None:
    (fault,) = source.faults(asked())
    assert "reach only the lab's LAN 192.168.1.0/24" in fault
    assert "upstream.containerd.key, upstream.mirrors[ghcr.io], upstream.mirrors[registry.k8s.io]" in fault
    assert "upstream.proxy" in fault
    assert source.faults(asked(**NEAR)) == []
    assert source.faults(asked(proxy="http://proxy.example:3128")) == []


def test_kubectl_is_the_one_that_was_fetched(source: UpstreamSource) -> None:
    with pytest.raises(BringUpError) as caught:
        source.program(asked(), "kubectl")
    assert caught.value.fix == "lab up"
    kubectl = kubeconfig.fetched(LabState("lab")) / "kubectl"
    kubectl.parent.mkdir(parents=True)
    kubectl.touch(mode=0o644)
    assert source.program(asked(), "kubectl") == kubectl
    assert kubectl.stat().st_mode & 0o777 == 0o755


@pytest.fixture
def openpgp(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    file = paths.share("playbooks/filter_plugins/openpgp.py")
    spec = importlib.util.spec_from_file_location("openpgp", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "openpgp", module)
    spec.loader.exec_module(module)
    return module


def test_every_key_of_a_text_is_seen(openpgp: ModuleType) -> None:
    (fingerprints,) = openpgp.FilterModule().filters().values()
    assert fingerprints(ONE) == [FINGERPRINTS[0]]
    assert fingerprints(f"{ONE}\n{TWO}") == FINGERPRINTS


@pytest.mark.parametrize(
    "text", ["", "<html>not found</html>", "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nabc\n"]
)
def test_what_is_no_key_is_refused(openpgp: ModuleType, text: str) -> None:
    with pytest.raises(AnsibleFilterError):
        openpgp.openpgp_fingerprints(text)
