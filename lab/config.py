"""The configuration of a lab: `lab.yaml`, its defaults and its limits.

Faults are worded in `lab.config_faults`.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from lab.addons import AddonsConfig
from lab.config_upstream import UpstreamConfig
from lab.errors import InputError

DEFAULT_FILE = Path("lab.yaml")

ProviderName = Literal["uml", "podman", "ssh", "vagrant"]
SourceName = Literal["bundle", "upstream"]
NetworkPlugin = Literal["flannel", "routed"]
ProxyMode = Literal["iptables", "ipvs", "nftables"]
IpvsScheduler = Literal["rr", "wrr", "lc", "wlc", "sh", "mh", "dh", "sed", "nq"]
PROXY_MODES: tuple[str, ...] = get_args(ProxyMode)

NAME_LENGTH = 20
LABEL_RULE = "small letters, digits and hyphens, a letter or digit first and last"
DNS_LABEL = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"


def _host_port(value: object) -> object:
    if value == "auto" or (isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 65535):
        return value
    raise ValueError(f"{value!r} is neither auto nor a port from 1 to 65535")


HostPort = Annotated[Literal["auto"] | int, BeforeValidator(_host_port)]
NodePort = Annotated[int, Field(ge=30000, le=32767)]
# As it is meant where the file is read; the lab keeps it whole.
File = Annotated[Path, AfterValidator(lambda path: path.expanduser().absolute())]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class KubernetesConfig(_Part):
    """Which Kubernetes, and the addresses it gives to pods and Services."""

    version: str = Field("1.37.2", description="one that the source can give")
    pod_cidr: IPv4Network = Field(IPv4Network("10.244.0.0/16"), description="a /24 of it for each node")
    service_cidr: IPv4Network = Field(IPv4Network("10.96.0.0/12"), description="the ClusterIPs")
    control_plane_timeout: int = Field(240, ge=30, le=3600, description="seconds for kubeadm to bring it up")
    settle_timeout: int = Field(
        180, ge=30, le=3600, description="seconds for any one part to work once the control plane does"
    )

    @property
    def cluster_dns(self) -> IPv4Address:
        """The address of the DNS Service: the tenth of the Service range, as kubeadm gives it."""
        return self.service_cidr[10]


class NetworkConfig(_Part):
    """How pods reach each other, and the lab's own LAN."""

    plugin: NetworkPlugin = Field("flannel", description="flannel: vxlan; routed: bridge and host routes")
    subnet: IPv4Network = Field(
        IPv4Network("192.168.1.0/24"), description="the lab's own LAN; the operator is its first address"
    )

    @property
    def gateway(self) -> IPv4Address:
        """The operator's address on the lab's LAN, the nodes' default route."""
        return self.subnet[1]


class ProxyConfig(_Part):
    """What kube-proxy programs."""

    mode: ProxyMode = "iptables"
    ipvs_scheduler: IpvsScheduler = Field("rr", description="how ipvs chooses a backend")


class SshConfig(_Part):
    """How a machine that exists is reached (provider ssh). What is not said, the user's own ssh knows."""

    user: str | None = Field(None, min_length=1, description="who logs in")
    port: int | None = Field(None, ge=1, le=65535)
    key: File | None = Field(None, description="the private key")
    known_hosts: File | None = Field(None, description="a file of host keys to trust, in place of one's own")
    become: bool | None = Field(None, description="by sudo; not said: unless the user is root")


class NodeSshConfig(SshConfig):
    """How this machine is reached, where it differs from the others."""

    host: str | None = Field(None, min_length=1, description="its name or address for ssh, if not `address`")


class NodeConfig(_Part):
    """One machine of the cluster."""

    name: str = Field(pattern=DNS_LABEL, max_length=63)
    address: IPv4Address = Field(description="on the lab's LAN; with provider ssh, where nodes reach it")
    ssh: NodeSshConfig = Field(NodeSshConfig(), description="provider ssh: where it differs from the others")


class MachineConfig(_Part):
    """What every machine gets."""

    memory: int = Field(2048, ge=1024, description="MiB for each node")
    cpus: int = Field(1, ge=1, le=64, description="processors for each node")


class VagrantConfig(_Part):
    """What only the provider vagrant asks; the Vagrantfile reads it too."""

    hypervisor: Literal["libvirt", "virtualbox"] = Field("libvirt", description="what runs the machines")
    box: str = Field(
        "debian/bookworm64",
        min_length=1,
        description="Debian 12; `kube-service-lab` is that of `lab box build`",
    )
    boot_timeout: int = Field(300, ge=30, le=3600, description="seconds for one machine to boot")


class ForwardConfig(_Part):
    """Ports of 127.0.0.1 that lead into the lab; `auto`: the same number if it is free, else any."""

    api: HostPort = Field("auto", description="to the API server")
    node_ports: dict[NodePort, HostPort] = Field({30000: "auto"}, description="NodePort: port of 127.0.0.1")


def default_nodes(values: Mapping[str, Any]) -> tuple[NodeConfig, ...]:
    """A master and two nodes: addresses 200 to 202 of the LAN, or its last three where it is smaller."""
    network = values.get("network")
    subnet = network.subnet if isinstance(network, NetworkConfig) else NetworkConfig().subnet
    first = 200 if subnet.num_addresses >= 256 else subnet.num_addresses - 4
    if first < 2:  # too small; `lab.config_faults` says so
        first = 200
        subnet = NetworkConfig().subnet
    names = ("master", "node01", "node02")
    return tuple(NodeConfig(name=name, address=subnet[first + i]) for i, name in enumerate(names))


class Config(_Part):
    """One lab, as `lab.yaml` says it. Immutable; valid as soon as it exists through `load`."""

    name: str = Field("lab", pattern=DNS_LABEL, max_length=NAME_LENGTH, description="a DNS label")
    provider: ProviderName = Field("uml", description="where machines come from")
    source: SourceName = Field("bundle", description="where Kubernetes comes from")
    kubernetes: KubernetesConfig = KubernetesConfig()
    network: NetworkConfig = NetworkConfig()
    proxy: ProxyConfig = ProxyConfig()
    nodes: tuple[NodeConfig, ...] = Field(
        default_factory=default_nodes, min_length=1, max_length=20, description="the first is the master"
    )
    machine: MachineConfig = MachineConfig()
    ssh: SshConfig = SshConfig()
    vagrant: VagrantConfig = VagrantConfig()
    forward: ForwardConfig = ForwardConfig()
    addons: AddonsConfig = AddonsConfig()
    upstream: UpstreamConfig = UpstreamConfig()

    @property
    def master(self) -> NodeConfig:
        """The node with the control plane."""
        return self.nodes[0]

    @property
    def workers(self) -> tuple[NodeConfig, ...]:
        """The other nodes."""
        return self.nodes[1:]

    def node(self, name: str) -> NodeConfig:
        """The node of that name.

        Raises:
            InputError: there is none.
        """
        for node in self.nodes:
            if node.name == name:
                return node
        names = ", ".join(node.name for node in self.nodes)
        raise InputError(f"The lab {self.name!r} has no node {name!r}.", fix=f"one of: {names}")

    def with_mode(self, mode: str) -> Config:
        """The same lab in another proxy mode."""
        return from_values(
            {**self.model_dump(mode="json"), "proxy": {**self.proxy.model_dump(), "mode": mode}}
        )


def load(path: Path | Literal["-"] | None, overrides: Mapping[str, object] | None = None) -> Config:
    """Read a configuration; flags beat the file, the file beats the defaults.

    Args:
        path: a YAML file, `-` for standard input, None for `./lab.yaml` if there is one.
        overrides: values by dotted path (`proxy.mode`); None values are left out.

    Raises:
        InputError: with every fault there is.
    """
    from lab import config_file  # noqa: PLC0415 -- it needs nothing of this module, and most users no YAML

    if path is None:
        path = DEFAULT_FILE if DEFAULT_FILE.is_file() else None
    where = "the configuration"
    values: dict[str, Any] = {}
    if path is not None:
        stdin = str(path) == "-"
        where = "standard input" if stdin else str(path)
        values = config_file.parse(sys.stdin.read() if stdin else config_file.read(Path(path)), where)
    return from_values(config_file.overridden(values, overrides or {}), where=where)


def from_values(values: Mapping[str, Any], *, where: str = "the configuration") -> Config:
    """A configuration from plain values, as YAML or JSON gives them.

    Raises:
        InputError: with every fault there is.
    """
    from lab import config_faults  # noqa: PLC0415 -- it is about the models above

    config: Config | None = None
    errors: ValidationError | None = None
    try:
        config = Config.model_validate(values)
    except ValidationError as invalid:
        errors = invalid
    faults = config_faults.of(values, config, errors)
    if faults or config is None:
        raise InputError(
            f"{len(faults)} fault{'s' if len(faults) > 1 else ''} in {where}; nothing was touched.",
            details=faults,
            fix="lab config schema describes every key; lab config init writes a file to start from",
        )
    return config


def check_name(name: str) -> None:
    """See that a lab may have this name.

    Raises:
        InputError: it may not.
    """
    if len(name) > NAME_LENGTH or not re.fullmatch(DNS_LABEL, name):
        raise InputError(
            f"{name!r} is no name for a lab.", details=[f"{LABEL_RULE}, at most {NAME_LENGTH} of them"]
        )


def schema() -> dict[str, Any]:
    """The JSON schema of `lab.yaml` (draft 2020-12)."""
    described = Config.model_json_schema(mode="validation")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **described,
        "title": "lab.yaml",
        "description": "The configuration of one lab of kube-service-lab. Every key is optional.",
    }
