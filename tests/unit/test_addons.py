"""Add-ons: what `lab.yaml` and `--addon` may ask for, and what a lab is made of that asks for one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from fakes import FakePlaybooks, FakeProvider, FakeSource

from lab import config_file, inventory, paths
from lab.addons import AddonsConfig
from lab.addons.metallb import Metallb, read_range
from lab.config import Config, from_values, load
from lab.errors import InputError
from lab.sources import built
from lab.sources.bundle import BundleSource
from lab.state import LabState

ADDRESSES = "addons.metallb.addresses"
RANGE = "192.168.1.240-192.168.1.250"


def metallb(config: Config) -> Metallb:
    assert config.addons.metallb is not None
    return config.addons.metallb


@pytest.fixture
def bundle(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> BundleSource:
    """The source with a tree of a node and the add-on in its store."""
    make = built.builder(Config().kubernetes.version)
    node: dict[str, Any] = {
        "programs": [],
        "images": [
            {"artifact": f"{name}/image.tar", "name": f"example/{name}:1"}
            for name in ("pause", "etcd", "coredns")
        ],
    }
    parts = {"node-tree": node, "images-metallb": {"image": "example/metallb:v0"}, "metallb": {}}
    for name, facts in parts.items():
        out = tmp_path / name
        out.mkdir()
        make.store.root.mkdir(parents=True, exist_ok=True)
        make.store.commit(out, name=name, version="0", digest=make.digest(name), seconds=1, facts=facts)
    monkeypatch.setattr(built, "builder", lambda _version: make)
    return BundleSource()


@pytest.mark.parametrize("text", ["addons: {metallb: {}}", "addons: {metallb: }", "addons:\n  metallb:\n"])
def test_a_name_alone_asks_for_it_as_it_is_by_default(text: str) -> None:
    config = from_values(yaml.safe_load(text))

    assert list(config.addons.asked) == ["metallb"]
    assert str(metallb(config).pool(config)) == RANGE


def test_none_is_asked_for_by_default_and_stays_so_in_json() -> None:
    assert not Config().addons.asked
    assert Config().model_dump(mode="json")["addons"] == {}
    assert from_values(Config().model_dump(mode="json")) == Config()


def test_one_that_is_asked_for_survives_json() -> None:
    for said in (None, {"addresses": "192.168.1.20 - 192.168.1.30"}):
        config = from_values({"addons": {"metallb": said}})
        assert from_values(config.model_dump(mode="json")) == config


def test_the_pool_follows_the_lan() -> None:
    config = from_values({"network": {"subnet": "10.5.0.0/22"}, "addons": {"metallb": {}}})
    assert str(metallb(config).pool(config)) == "10.5.0.240-10.5.0.250"


def faults(values: dict[str, Any]) -> list[str]:
    with pytest.raises(InputError) as caught:
        from_values(values)
    return list(caught.value.details)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("addons: {metalb: {}}", "addons.metalb: unknown key; did you mean metallb? (there are: metallb)"),
        ("addons: [metallb]", "addons: must hold keys and values: metallb"),
        ("addons: {metallb: yes}", "addons.metallb: must hold keys and values: addresses"),
        (
            "{source: upstream, provider: vagrant, addons: {metallb: {}}}",
            "addons.metallb: source upstream has no add-ons; leave it out, or take source bundle",
        ),
        (
            "{network: {subnet: 10.5.0.0/28}, addons: {metallb: {}}}",
            f"{ADDRESSES}: the LAN is only 10.5.0.0/28: say which of its addresses Services get",
        ),
    ],
)
def test_what_cannot_be_asked_for(text: str, said: str) -> None:
    assert faults(yaml.safe_load(text)) == [said]


@pytest.mark.parametrize(
    ("addresses", "wrong"),
    [
        ("192.168.1.240/28", [f"'192.168.1.240/28' is not a range of IPv4 addresses, as {RANGE} is"]),
        ("192.168.1.9-256", [f"'192.168.1.9-256' is not a range of IPv4 addresses, as {RANGE} is"]),
        ("192.168.1.250-192.168.1.240", ["'192.168.1.250-192.168.1.240' ends before it begins"]),
        (
            "192.168.1.201-192.168.1.210",
            [
                "192.168.1.201-192.168.1.210 has the address of the node node01, 192.168.1.201",
                "192.168.1.201-192.168.1.210 has the address of the node node02, 192.168.1.202",
            ],
        ),
        (
            "192.168.0.9-192.168.1.9",
            [
                "192.168.0.9-192.168.1.9: 192.168.0.9 is outside network.subnet 192.168.1.0/24",
                "192.168.0.9-192.168.1.9 has the network address of 192.168.1.0/24, 192.168.1.0",
                "192.168.0.9-192.168.1.9 has the operator's own address of 192.168.1.0/24, 192.168.1.1",
            ],
        ),
        (
            "192.168.1.240-192.168.1.255",
            ["192.168.1.240-192.168.1.255 has the broadcast address of 192.168.1.0/24, 192.168.1.255"],
        ),
        (
            "10.5.0.1-10.5.0.2",
            [
                "10.5.0.1-10.5.0.2: 10.5.0.1 is outside network.subnet 192.168.1.0/24",
                "10.5.0.1-10.5.0.2: 10.5.0.2 is outside network.subnet 192.168.1.0/24",
            ],
        ),
    ],
)
def test_addresses_that_are_somebodys_or_of_another_network(addresses: str, wrong: list[str]) -> None:
    assert faults({"addons": {"metallb": {"addresses": addresses}}}) == [
        f"{ADDRESSES}: {one}" for one in wrong
    ]


@pytest.mark.parametrize(
    ("addons", "wrong"),
    [
        ({}, ["the LAN is that of the machines: say which of its addresses Services get"]),
        (
            {"addresses": "10.0.0.1-10.250.0.1"},
            [
                "10.0.0.1-10.250.0.1 has the address of the node a, 10.0.0.1",
                "10.0.0.1-10.250.0.1 overlaps kubernetes.pod_cidr 10.244.0.0/16",
                "10.0.0.1-10.250.0.1 overlaps kubernetes.service_cidr 10.96.0.0/12",
            ],
        ),
        (
            {"addresses": "10.96.0.20-10.96.0.30"},
            ["10.96.0.20-10.96.0.30 overlaps kubernetes.service_cidr 10.96.0.0/12"],
        ),
    ],
)
def test_addresses_for_machines_that_exist(addons: dict[str, str], wrong: list[str]) -> None:
    nodes = [{"name": "a", "address": "10.0.0.1"}]
    asked = {"provider": "ssh", "nodes": nodes, "addons": {"metallb": addons}}
    assert faults(asked) == [f"{ADDRESSES}: {one}" for one in wrong]


def test_addresses_of_machines_that_exist_may_be_of_any_lan() -> None:
    nodes = [{"name": "a", "address": "172.20.0.1"}]
    asked = {"metallb": {"addresses": "172.20.0.20-172.20.0.30"}}
    assert from_values({"provider": "ssh", "nodes": nodes, "addons": asked}).addons.asked


def test_a_range_has_both_its_ends() -> None:
    found = read_range("192.168.1.240 -192.168.1.242")
    assert [number in found for number in (found.first, found.first + 1, found.last)] == [True] * 3
    assert found.first - 1 not in found
    assert found.last + 1 not in found


def test_the_flag_leaves_what_the_file_says_of_it(tmp_path: Path) -> None:
    path = tmp_path / "lab.yaml"
    path.write_text("addons: {metallb: {addresses: 192.168.1.20-192.168.1.30}}\n")
    config = load(path, {"addons.metallb": {}})
    assert metallb(config).addresses == "192.168.1.20-192.168.1.30"
    assert metallb(load(None, {"addons.metallb": {}})).addresses is None
    assert config_file.overridden({"addons": None}, {"addons.metallb": {}}) == {"addons": {"metallb": {}}}


def test_lab_up_takes_the_flag(
    lab: Callable[..., Any],
    machines: type[FakeProvider],
    source: FakeSource,
    playbooks: FakePlaybooks,
) -> None:
    del machines, source, playbooks  # should it not be refused, it is raised of fakes
    said = lab("up", "--addon", "metallbb").assert_exit(2).err
    assert "addons.metallbb: unknown key; did you mean metallb?" in said
    assert LabState("lab").read_config() is None


def test_a_lab_that_asks_for_none_is_made_of_what_it_was_and_told_so(bundle: BundleSource) -> None:
    config = from_values({"provider": "podman"})
    assert not {"metallb", "images-metallb"} & set(bundle.components(config))
    told = bundle.extravars(config)
    assert (told["addons"], told["addon_images"]) == ([], [])
    assert "strict_arp" not in told
    assert not [name for name in told if name.startswith("metallb")]


def test_a_lab_that_asks_has_it_built_and_loaded_but_not_baked(bundle: BundleSource) -> None:
    plain = from_values({"provider": "podman"})
    config = from_values({"provider": "podman", "addons": {"metallb": {}}})
    assert set(bundle.components(config)) - set(bundle.components(plain)) == {"metallb", "images-metallb"}
    told, store = bundle.extravars(config), bundle._builder(config).store.root
    assert told["addons"] == ["metallb"]
    (image,) = told["addon_images"]
    assert image["name"] == told["metallb_image"] == "example/metallb:v0"
    assert Path(image["src"]).parent.parent == Path(told["metallb_manifest"]).parent.parent == store
    assert told["metallb_addresses"] == RANGE
    assert told["strict_arp"] is True
    # What a machine is prepared with is the same: the disk serves both.
    assert told["prepared_digest"] == bundle.extravars(plain)["prepared_digest"]
    assert image not in told["images"]


def test_every_add_on_has_its_role_and_its_components(bundle: BundleSource) -> None:
    known = bundle._builder(Config()).components
    for name, field in AddonsConfig.model_fields.items():
        addon = field.annotation
        assert (paths.share("playbooks") / "roles" / name / "tasks" / "main.yml").is_file()
        (kind,) = [part for part in addon.__args__ if part is not type(None)]  # type: ignore[union-attr]
        for component in (*kind.images, *kind.components):
            assert known.resolve(component).name == component


def test_what_the_role_needs_is_told(bundle: BundleSource) -> None:
    config = from_values({"provider": "podman", "addons": {"metallb": {}}})
    told = {**inventory.extravars(config), **bundle.extravars(config)}
    roles = paths.share("playbooks") / "roles"
    for role in ("inputs", "metallb"):
        spec = yaml.safe_load((roles / role / "meta/argument_specs.yml").read_text())["argument_specs"][
            "main"
        ]
        wanted = {key for key, of in spec["options"].items() if of.get("required")}
        assert wanted <= {*told, "node_address", "fetch_dir"}
