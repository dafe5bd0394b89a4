"""`lab.yaml` as text: reading it, laying flags over it, and the file a newcomer starts from."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from lab.errors import InputError

TEMPLATE = """\
# A lab: one master and two nodes. Every key is optional; what is here are the defaults.
# `lab config schema` describes all of it, `lab config validate` checks this file.
name: lab
provider: uml                  # uml | podman | ssh (docs/ssh.md)
source: bundle                 # bundle | upstream (docs/upstream.md)
kubernetes:
  version: 1.37.2
  pod_cidr: 10.244.0.0/16
  service_cidr: 10.96.0.0/12
  control_plane_timeout: 240   # seconds
network:
  plugin: flannel              # flannel | routed
  subnet: 192.168.1.0/24       # the lab's own LAN; you are its first address
proxy:
  mode: iptables               # iptables | ipvs | nftables
  ipvs_scheduler: rr           # rr wrr lc wlc sh mh dh sed nq
nodes:                         # the first is the master
  - {name: master, address: 192.168.1.200}
  - {name: node01, address: 192.168.1.201}
  - {name: node02, address: 192.168.1.202}
machine:
  memory: 2048                 # MiB for each node
  cpus: 1
forward:                       # ports of 127.0.0.1; auto: the same number if it is free
  api: auto
  node_ports: {30000: auto}
# addons: {metallb: {}}        # LoadBalancer Services (docs/loadbalancer.md)
"""


class _Loader(yaml.SafeLoader):
    """YAML that refuses a key written twice: one of the two would be lost without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: dict[Any, int] = {}
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            line = key_node.start_mark.line + 1
            if isinstance(key, str | int) and key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"{key}: twice, in line {seen[key]} and in line {line}", key_node.start_mark
                )
            seen[str(key) if not isinstance(key, str | int) else key] = line
        return super().construct_mapping(node, deep=deep)


def read(path: Path) -> str:
    """A configuration file's text.

    Raises:
        InputError: it cannot be read.
    """
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read.", details=[str(error)]) from error


def parse(text: str, where: str) -> dict[str, Any]:
    """The keys and values of a YAML text; an empty one has none.

    Raises:
        InputError: it is not YAML, or not a mapping.
    """
    try:
        values = yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or str(error)
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise InputError(f"{where} cannot be understood as YAML.", details=[f"{place}{problem}"]) from error
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise InputError(f"{where} must hold keys and values, as `name: lab`.", fix="lab config init")
    return values


def overridden(values: Mapping[str, Any], overrides: Mapping[str, object]) -> dict[str, Any]:
    """`values` with others laid over them, by dotted path.

    Those that are None change nothing; a mapping leaves the keys that it does not have as they are.
    """
    result = copy.deepcopy(dict(values))
    for path, value in overrides.items():
        if value is None:
            continue
        *parents, last = path.split(".")
        place = result
        for key in parents:
            inner = place.setdefault(key, {})
            if inner is None:  # `proxy:` with nothing under it
                inner = place[key] = {}
            if not isinstance(inner, dict):
                break  # a fault of the file, reported with the others
            place = inner
        else:
            there = place.get(last)
            if isinstance(there, dict) and isinstance(value, Mapping):
                there.update(value)
            else:
                place[last] = value
    return result
