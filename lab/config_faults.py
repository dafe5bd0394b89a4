"""Everything wrong with a configuration, each fault one line in the words of whoever wrote it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from ipaddress import IPv4Network
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from lab.config import LABEL_RULE, Config
from lab.config_cross import CROSS_CHECKS, Fault, Path, nearest, where


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
        "string_too_short": lambda: "is empty",
        "path_type": lambda: f"{given!r} is not a path",
        "bool_type": lambda: f"{given!r} is neither true nor false",
        "bool_parsing": lambda: f"{given!r} is neither true nor false",
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
