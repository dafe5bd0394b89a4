"""Keys of a configuration that do not go together: networks that overlap, addresses outside, names twice."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator
from ipaddress import IPv4Network
from itertools import combinations
from typing import NamedTuple

from lab import pins, vagrant_box
from lab.config import Config
from lab.versions import known

Path = tuple[str | int, ...]


class Fault(NamedTuple):
    """One fault and the keys it speaks of."""

    paths: tuple[Path, ...]
    text: str


def where(path: Path) -> str:
    """A key's place as people write it: `nodes[1].address`."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.lstrip(".") or "the file"


def nearest(word: str, choices: tuple[str, ...] | list[str]) -> str:
    """`; did you mean …?` when one of the choices is close, else what the choices are."""
    close = difflib.get_close_matches(word.lower(), choices, n=1, cutoff=0.5)
    listed = ", ".join(choices)
    return f"; did you mean {close[0]}? (there are: {listed})" if close else f" (there are: {listed})"


def _overlaps(config: Config) -> Iterator[Fault]:
    networks: dict[Path, IPv4Network] = {
        ("kubernetes", "pod_cidr"): config.kubernetes.pod_cidr,
        ("kubernetes", "service_cidr"): config.kubernetes.service_cidr,
        ("network", "subnet"): config.network.subnet,
    }
    if config.provider == "ssh":  # whose machines have addresses already
        del networks["network", "subnet"]
    for (one, first), (other, second) in combinations(networks.items(), 2):
        if first.overlaps(second):
            yield Fault((one, other), f"{where(one)}: {first} overlaps {where(other)} {second}")


def _sizes(config: Config) -> Iterator[Fault]:
    subnet, pods, services = config.network.subnet, config.kubernetes.pod_cidr, config.kubernetes.service_cidr
    count = len(config.nodes)
    room = subnet.num_addresses - 3  # network, broadcast, operator
    if room < count and config.provider != "ssh":
        yield Fault(
            (("network", "subnet"), ("nodes",)),
            f"network.subnet: {subnet} has no room for {count} nodes and the operator",
        )
    slices = 2 ** (24 - pods.prefixlen) if pods.prefixlen <= 24 else 0
    if slices < count:
        yield Fault(
            (("kubernetes", "pod_cidr"), ("nodes",)),
            f"kubernetes.pod_cidr: {pods} has {slices} networks of /24, one a node; {count} nodes are wanted",
        )
    if not 12 <= services.prefixlen <= 24:
        yield Fault(
            (("kubernetes", "service_cidr"),),
            f"kubernetes.service_cidr: {services} must be from /12 (the API server's limit) to /24",
        )


def _addresses(config: Config) -> Iterator[Fault]:
    subnet = config.network.subnet
    if config.provider == "ssh":
        yield from _addresses_that_exist(config)
        return
    for place, node in enumerate(config.nodes):
        path: Path = ("nodes", place, "address")
        both: tuple[Path, ...] = (path, ("network", "subnet"))
        if node.address not in subnet:
            yield Fault(both, f"{where(path)}: {node.address} is outside network.subnet {subnet}")
        elif node.address == config.network.gateway:
            yield Fault(
                both, f"{where(path)}: {node.address} is the operator's own address, the first of {subnet}"
            )
        elif node.address in (subnet.network_address, subnet.broadcast_address):
            kind = "network" if node.address == subnet.network_address else "broadcast"
            yield Fault(both, f"{where(path)}: {node.address} is the {kind} address of {subnet}")


def _addresses_that_exist(config: Config) -> Iterator[Fault]:
    if "nodes" not in config.model_fields_set:
        yield Fault(
            (("provider",), ("nodes",)),
            "nodes: provider ssh has the machines listed here, each with its name and address; none is",
        )
        return
    for place, node in enumerate(config.nodes):
        for key in ("pod_cidr", "service_cidr"):
            network = getattr(config.kubernetes, key)
            if node.address in network:
                path: Path = ("nodes", place, "address")
                both: tuple[Path, ...] = (path, ("kubernetes", key))
                yield Fault(both, f"{where(path)}: {node.address} is in kubernetes.{key} {network}")


def _twice(config: Config) -> Iterator[Fault]:
    for key in ("name", "address"):
        first: dict[object, int] = {}
        for place, node in enumerate(config.nodes):
            value = getattr(node, key)
            if value in first:
                path: Path = ("nodes", place, key)
                yield Fault((path,), f"{where(path)}: {value} is already that of nodes[{first[value]}]")
            first.setdefault(value, place)
    forwards: dict[Path, object] = {("forward", "api"): config.forward.api}
    forwards |= {("forward", "node_ports", port): host for port, host in config.forward.node_ports.items()}
    ports: dict[object, Path] = {}
    for one, host in forwards.items():
        if host != "auto" and host in ports:
            other = ports[host]
            yield Fault((one, other), f"{where(one)}: 127.0.0.1:{host} is already that of {where(other)}")
        ports.setdefault(host, one)


def _version(config: Config) -> Iterator[Fault]:
    version = config.kubernetes.version
    there = known() if config.source == "bundle" else pins.known()
    if there and version not in there:
        yield Fault(
            (("kubernetes", "version"),),
            f"kubernetes.version: {version} is not one the source has{nearest(version, there)}",
        )


def _box(config: Config) -> Iterator[Fault]:
    if (config.source, config.provider, config.vagrant.box) == ("upstream", "vagrant", vagrant_box.NAME):
        yield Fault(
            (("source",), ("vagrant", "box")),
            f"vagrant.box: {vagrant_box.NAME} has the bundle's Kubernetes on it; with source upstream name a "
            "plain Debian, such as debian/bookworm64",
        )


def _addons(config: Config) -> Iterator[Fault]:
    for name, addon in config.addons.asked.items():
        path: Path = ("addons", name)
        if config.source != "bundle":
            said = f"source {config.source} has no add-ons; leave it out, or take source bundle"
            yield Fault((path, ("source",)), f"{where(path)}: {said}")
        for key, wrong in addon.faults(config):
            yield Fault(((*path, key), ("network", "subnet")), f"{where((*path, key))}: {wrong}")


CROSS_CHECKS: tuple[Callable[[Config], Iterator[Fault]], ...] = (
    _overlaps,
    _sizes,
    _addresses,
    _twice,
    _version,
    _box,
    _addons,
)
