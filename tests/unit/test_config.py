"""lab.yaml: what it may say, and every fault of it at once."""

from __future__ import annotations

import io
from collections.abc import Callable
from ipaddress import IPv4Address
from pathlib import Path
from typing import get_args

import jsonschema  # type: ignore[import-untyped]
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from lab import config_file
from lab.config import (
    LABEL_RULE,
    Config,
    KubernetesConfig,
    ProviderName,
    check_name,
    from_values,
    load,
    schema,
)
from lab.config_cross import nearest
from lab.errors import Exit, InputError
from lab.versions import known

MODE_FAULT = (
    "  - proxy.mode: 'nftable' is not known; did you mean nftables? (there are: iptables, ipvs, nftables)"
)
MEMORY_FAULT = (
    "  - machine.memory: 512 is less than 1024 MiB; a control plane does not start in that "
    "(kubeadm asks for 1700)"
)
PROVIDERS = ", ".join(get_args(ProviderName))
SCHEDULERS = "rr, wrr, lc, wlc, sh, mh, dh, sed, nq"

Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def file(text: str) -> Path:
        path = tmp_path / "some.yaml"
        path.write_text(text)
        return path

    return file


def faults(text: str, **overrides: object) -> list[str]:
    """The faults of a YAML text, one line each."""
    values = config_file.overridden(yaml.safe_load(text) or {}, overrides)
    with pytest.raises(InputError) as caught:
        from_values(values)
    assert caught.value.code == Exit.BAD_INPUT
    return list(caught.value.details)


def test_the_defaults_are_the_lab_of_the_contract() -> None:
    config = load(None)

    assert (config.name, config.provider, config.source, config.proxy.mode) == (
        "lab",
        "uml",
        "bundle",
        "iptables",
    )
    assert config.master.name == "master"
    assert [str(node.address) for node in config.nodes] == ["192.168.1.200", "192.168.1.201", "192.168.1.202"]
    assert config.network.gateway == IPv4Address("192.168.1.1")
    assert config.kubernetes.cluster_dns == IPv4Address("10.96.0.10")


def test_the_template_says_the_defaults(write: Write) -> None:
    assert load(write(config_file.TEMPLATE)) == Config()


def test_flags_beat_the_file_and_the_file_beats_the_defaults(write: Write) -> None:
    path = write("name: mine\nproxy: {mode: ipvs, ipvs_scheduler: sh}\n")

    config = load(path, {"proxy.mode": "nftables", "provider": None})

    assert (config.name, config.proxy.mode, config.proxy.ipvs_scheduler) == ("mine", "nftables", "sh")
    assert config.provider == "uml"


def test_a_file_of_the_working_folder_is_used_when_none_is_named() -> None:
    Path("lab.yaml").write_text("name: here\n")

    assert load(None).name == "here"


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("name: piped\n"))

    assert load("-").name == "piped"
    assert load(Path("-")).name  # as the command line gives it; at the end of input: the defaults


def test_nodes_follow_the_subnet_when_only_that_is_said() -> None:
    assert [str(node.address) for node in load(None, {"network.subnet": "10.5.0.0/24"}).nodes] == [
        "10.5.0.200",
        "10.5.0.201",
        "10.5.0.202",
    ]
    assert [str(node.address) for node in load(None, {"network.subnet": "10.5.0.0/28"}).nodes] == [
        "10.5.0.12",
        "10.5.0.13",
        "10.5.0.14",
    ]


def test_all_faults_are_reported_at_once(write: Write) -> None:
    path = write("""
nam: x
provider: umll
kubernetes: {pod_cidr: 10.96.0.0/16, version: 1.36.0}
network: {subnet: 192.168.1.0/24, plugin: 3}
proxy: {mode: nftable}
nodes:
  - {name: master, address: 192.168.1.1}
  - {name: Master, address: 192.168.1.201}
  - {name: n, address: 192.168.2.2, rank: 3}
  - {name: n, address: 192.168.1.255}
machine: {memory: 512}
forward: {api: 70000, node_ports: {30000: 8080, 30001: 8080, 99: auto}}
""")
    with pytest.raises(InputError) as caught:
        load(path)

    assert str(caught.value).splitlines() == [
        f"16 faults in {path}; nothing was touched.",
        f"  - provider: 'umll' is not known; did you mean uml? (there are: {PROVIDERS})",
        "  - network.plugin: 3 is not known (there are: flannel, routed)",
        MODE_FAULT,
        f"  - nodes[1].name: 'Master' is not a DNS label: {LABEL_RULE}",
        "  - nodes[2].rank: unknown key (there are: name, address, ssh)",
        MEMORY_FAULT,
        "  - forward.api: 70000 is neither auto nor a port from 1 to 65535",
        "  - forward.node_ports[99]: 99 is less than 30000; NodePorts are 30000 to 32767",
        f"  - nam: unknown key; did you mean name? (there are: {', '.join(Config.model_fields)})",
        "  - kubernetes.pod_cidr: 10.96.0.0/16 overlaps kubernetes.service_cidr 10.96.0.0/12",
        "  - nodes[0].address: 192.168.1.1 is the operator's own address, the first of 192.168.1.0/24",
        "  - nodes[2].address: 192.168.2.2 is outside network.subnet 192.168.1.0/24",
        "  - nodes[3].address: 192.168.1.255 is the broadcast address of 192.168.1.0/24",
        "  - nodes[3].name: n is already that of nodes[2]",
        "  - forward.node_ports[30001]: 127.0.0.1:8080 is already that of forward.node_ports[30000]",
        f"  - kubernetes.version: 1.36.0 is not one the source has{nearest('1.36.0', known())}",
        "To mend it: lab config schema describes every key; lab config init writes a file to start from",
    ]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (
            "network: {subnet: 192.168.1.0/30}",
            "network.subnet: 192.168.1.0/30 has no room for 3 nodes and the operator",
        ),
        (
            "network: {subnet: 192.168.1.5/24}",
            "network.subnet: '192.168.1.5/24' is not an IPv4 network; did you mean 192.168.1.0/24?",
        ),
        ("network: {subnet: lan}", "network.subnet: 'lan' is not an IPv4 network, as 10.244.0.0/16 is"),
        (
            "network: {subnet: 10.244.8.0/24}",
            "kubernetes.pod_cidr: 10.244.0.0/16 overlaps network.subnet 10.244.8.0/24",
        ),
        (
            "kubernetes: {pod_cidr: 10.244.0.0/23}",
            "kubernetes.pod_cidr: 10.244.0.0/23 has 2 networks of /24, one a node; 3 nodes are wanted",
        ),
        (
            "kubernetes: {service_cidr: 10.0.0.0/8, pod_cidr: 172.16.0.0/16}",
            "kubernetes.service_cidr: 10.0.0.0/8 must be from /12 (the API server's limit) to /24",
        ),
        ("kubernetes: {version: 1.37}", "kubernetes.version: 1.37 is not text; put it in quotes"),
        (
            "kubernetes: 3",
            f"kubernetes: must hold keys and values: {', '.join(KubernetesConfig.model_fields)}",
        ),
        ("name: a-name-longer-than-twenty", "name: 'a-name-longer-than-twenty' is longer than 20 characters"),
        ("machine: {memory: much}", "machine.memory: 'much' is not a whole number"),
        ("machine: {cpus: 0}", "machine.cpus: 0 is less than 1"),
        ("nodes: []", "nodes: has no entry; the first node is the master"),
        ("nodes: [{name: master}]", "nodes[0].address: is missing"),
        ("nodes: [{name: master, address: 1.2.3}]", "nodes[0].address: '1.2.3' is not an IPv4 address"),
        (
            "proxy: {ipvs_scheduler: mm}",
            f"proxy.ipvs_scheduler: 'mm' is not known; did you mean mh? (there are: {SCHEDULERS})",
        ),
        ("forward: {api: yes}", "forward.api: True is neither auto nor a port from 1 to 65535"),
    ],
)
def test_one_fault_in_one_line(text: str, fault: str) -> None:
    assert faults(text) == [fault]


def test_a_faulty_key_hides_no_other_fault() -> None:
    found = faults("network: {subnet: nowhere}\nkubernetes: {pod_cidr: 10.96.0.0/16}\n")

    assert found == [
        "network.subnet: 'nowhere' is not an IPv4 network, as 10.244.0.0/16 is",
        "kubernetes.pod_cidr: 10.96.0.0/16 overlaps kubernetes.service_cidr 10.96.0.0/12",
    ]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("name: [", "line 1, column 8: expected the node content, but found '<stream end>'"),
        ("name: a\nname: b\n", "line 2, column 1: name: twice, in line 1 and in line 2"),
    ],
)
def test_text_that_is_not_yaml(write: Write, text: str, fault: str) -> None:
    path = write(text)
    with pytest.raises(InputError) as caught:
        load(path)

    assert str(caught.value).splitlines() == [f"{path} cannot be understood as YAML.", f"  - {fault}"]


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        load(tmp_path / "none.yaml")


def test_a_list_is_no_configuration(write: Write) -> None:
    with pytest.raises(InputError, match="must hold keys and values"):
        load(write("- a\n"))


def test_it_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load(None).name = "other"  # type: ignore[misc]


def test_it_survives_json() -> None:
    config = load(None, {"proxy.mode": "ipvs"})

    assert from_values(config.model_dump(mode="json")) == config


def test_another_mode_of_the_same_lab() -> None:
    config = load(None, {"proxy.ipvs_scheduler": "sh"})

    assert config.with_mode("ipvs").proxy.model_dump() == {"mode": "ipvs", "ipvs_scheduler": "sh"}


@pytest.mark.parametrize("name", ["", "-a", "a-", "A", "a.b", "../x", "a" * 21])
def test_names_that_no_lab_may_have(name: str) -> None:
    with pytest.raises(InputError):
        check_name(name)


def test_the_schema_takes_what_load_takes() -> None:
    validator = jsonschema.Draft202012Validator(schema())

    validator.validate(yaml.safe_load(config_file.TEMPLATE) | {"forward": {"api": "auto"}})
    assert not validator.is_valid({"proxy": {"mode": "userspace"}})
    assert not validator.is_valid({"prox": {}})


TEXT = st.text("ab-./:0129", max_size=8)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
KEYS = st.sampled_from([*Config.model_fields, "nonsense"])


@settings(deadline=None)  # the first one reads the recipes; how long one takes is not the question here
@given(st.dictionaries(KEYS, VALUES, max_size=4))
def test_no_values_whatever_are_more_than_a_message(values: dict[str, object]) -> None:
    try:
        from_values(values)
    except InputError as error:
        said = error.details
        if not said:
            raise
