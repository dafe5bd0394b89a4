"""Everything wrong with a configuration, each fault one line in the words of whoever wrote it."""

from __future__ import annotations

import copy
import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence
from ipaddress import IPv4Network
from itertools import combinations
from typing import Any, NamedTuple, get_args

from pydantic import BaseModel, ValidationError

from lab.config import LABEL_RULE, Config
from lab.versions import known

Path = tuple[str | int, ...]


class Fault(NamedTuple):
    """One fault and the keys it speaks of."""

    paths: tuple[Path, ...]
    text: str


def of(values: Mapping[str, Any], config: Config | None, invalid: ValidationError | None) -> list[str]:
    """All faults of `values`: of single keys, then of keys that do not go together.

    Args:
        values: what was written.
        config: what came of it, if anything.
        invalid: what pydantic found, if it found anything.
    """
    errors = invalid.errors() if invalid else []
    single = [_word(error) for error in errors if not _follows(error, errors)]
    if config is None:
        # Without the faulty keys the rest can still be held together.
        config = _without(values, [fault.paths[0] for fault in single])
    broken = [fault.paths[0] for fault in single]
    crossed = [
        fault
        for check in CROSS_CHECKS
        for fault in (check(config) if config else ())
        if ("nodes" in values or fault.paths[0][0] != "nodes")
        and not any(_touches(path, bad) for path in fault.paths for bad in broken)
    ]
    return list(dict.fromkeys(fault.text for fault in [*single, *crossed]))


def where(path: Path) -> str:
    """A key's place as people write it: `nodes[1].address`."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.lstrip(".") or "the file"


def nearest(word: str, choices: tuple[str, ...] | list[str]) -> str:
    """`; did you mean …?` when one of the choices is close, else what the choices are."""
    close = difflib.get_close_matches(word.lower(), choices, n=1, cutoff=0.5)
    listed = ", ".join(choices)
    return f"; did you mean {close[0]}? (there are: {listed})" if close else f" (there are: {listed})"


# -- faults of single keys -----------------------------------------------------------------------------------


def _word(error: Any) -> Fault:
    """One pydantic error in our words."""
    path: Path = tuple(part for part in error["loc"] if part != "[key]")
    given, kind, context = error["input"], error["type"], error.get("ctx", {})
    words: dict[str, Callable[[], str]] = {
        "extra_forbidden": lambda: f"unknown key{nearest(str(path[-1]), _keys(path[:-1]))}",
        "missing": lambda: "is missing",
        "literal_error": lambda: f"{given!r} is not known{nearest(str(given), _choices(path))}",
        "ip_v4_address": lambda: f"{given!r} is not an IPv4 address",
        "ip_v4_network": lambda: f"{given!r} is not an IPv4 network{_host_bits(given)}",
        "int_type": lambda: f"{given!r} is not a whole number",
        "int_parsing": lambda: f"{given!r} is not a whole number",
        "int_from_float": lambda: f"{given!r} is not a whole number",
        "string_type": lambda: f"{given!r} is not text; put it in quotes",
        "string_pattern_mismatch": lambda: f"{given!r} is not a DNS label: {LABEL_RULE}",
        "string_too_long": lambda: f"{given!r} is longer than {context['max_length']} characters",
        "greater_than_equal": lambda: f"{given} is less than {context['ge']}{_why_at_least(path)}",
        "less_than_equal": lambda: f"{given} is more than {context['le']}",
        "too_short": lambda: "has no entry; the first node is the master",
        "too_long": lambda: f"has more than {context['max_length']} entries",
        "model_type": lambda: f"must hold keys and values: {', '.join(_keys(path))}",
        "model_attributes_type": lambda: f"must hold keys and values: {', '.join(_keys(path))}",
        "dict_type": lambda: "must hold keys and values",
        "tuple_type": lambda: "must be a list",
        "value_error": lambda: str(context.get("error", error["msg"])),
    }
    text = words[kind]() if kind in words else f"{given!r}: {error['msg']}"
    return Fault((path,), f"{where(path)}: {text}")


def _follows(error: Any, errors: Sequence[Any]) -> bool:
    """Whether an error is only what follows from another one."""
    if error["type"] == "default_factory_not_called":
        return True  # the nodes that would be the default depend on other keys
    # pydantic counts the entries of a list that are right
    inside = (other["loc"][: len(error["loc"])] == error["loc"] for other in errors if other is not error)
    return bool(error["type"] == "too_short" and any(inside))


def _model(path: Path) -> type[BaseModel] | None:
    """The model whose keys stand at this path."""
    model: type[BaseModel] = Config
    for part in path:
        if isinstance(part, int):
            continue
        field = model.model_fields.get(part)
        if field is None:
            return None
        kinds = [field.annotation, *get_args(field.annotation)]
        inner = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)]
        if not inner:
            return None
        model = inner[0]
    return model


def _keys(path: Path) -> list[str]:
    model = _model(path)
    return list(model.model_fields) if model else []


def _choices(path: Path) -> tuple[str, ...]:
    model = _model(path[:-1])
    field = model.model_fields.get(str(path[-1])) if model else None
    return tuple(str(choice) for choice in get_args(field.annotation)) if field else ()


def _host_bits(given: object) -> str:
    try:
        return f"; did you mean {IPv4Network(str(given), strict=False)}?"
    except ValueError:
        return ", as 10.244.0.0/16 is"


def _why_at_least(path: Path) -> str:
    reasons = {
        "machine.memory": " MiB; a control plane does not start in that (kubeadm asks for 1700)",
        "forward.node_ports": "; NodePorts are 30000 to 32767",
    }
    return next((why for start, why in reasons.items() if where(path).startswith(start)), "")


def _touches(path: Path, bad: Path) -> bool:
    """Whether one of two paths leads to or through the other."""
    return path[: len(bad)] == bad or bad[: len(path)] == path


def _without(values: Mapping[str, Any], broken: list[Path]) -> Config | None:
    """The configuration that is left when the faulty keys are taken out."""
    rest = copy.deepcopy(dict(values))
    for path in broken:
        place: Any = rest
        for depth, key in enumerate(path):
            inner = place.get(key) if isinstance(place, dict) else place[key]
            if depth == len(path) - 1 or not isinstance(inner, dict | list):
                if isinstance(place, list):
                    place[int(key)] = {}  # so that the other entries keep their place
                else:
                    place.pop(key, None)
                break
            place = inner
    # A node without its name or address gets one that nobody else has: what is said of it is left out.
    nodes = rest.get("nodes")
    for number, node in enumerate(nodes if isinstance(nodes, list) else ()):
        node.setdefault("name", f"faulty-{number}")
        node.setdefault("address", f"0.0.0.{number}")
    try:
        return Config.model_validate(rest)
    except ValidationError:
        return None


# -- keys that do not go together ----------------------------------------------------------------------------


def _overlaps(config: Config) -> Iterator[Fault]:
    networks: dict[Path, IPv4Network] = {
        ("kubernetes", "pod_cidr"): config.kubernetes.pod_cidr,
        ("kubernetes", "service_cidr"): config.kubernetes.service_cidr,
        ("network", "subnet"): config.network.subnet,
    }
    for (one, first), (other, second) in combinations(networks.items(), 2):
        if first.overlaps(second):
            yield Fault((one, other), f"{where(one)}: {first} overlaps {where(other)} {second}")


def _sizes(config: Config) -> Iterator[Fault]:
    subnet, pods, services = config.network.subnet, config.kubernetes.pod_cidr, config.kubernetes.service_cidr
    count = len(config.nodes)
    room = subnet.num_addresses - 3  # network, broadcast, operator
    if room < count:
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
    version, there = config.kubernetes.version, known()
    if there and version not in there:
        yield Fault(
            (("kubernetes", "version"),),
            f"kubernetes.version: {version} is not one the source has{nearest(version, there)}",
        )


CROSS_CHECKS: tuple[Callable[[Config], Iterator[Fault]], ...] = (
    _overlaps,
    _sizes,
    _addresses,
    _twice,
    _version,
)
