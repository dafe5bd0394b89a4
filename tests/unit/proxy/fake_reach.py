"""A cluster that answers from captured dumps: the API's objects, and each node's look and connections."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from proxy_dumps import objects, outputs

from lab import shell
from lab.proxy import commands
from lab.reach.base import Object, Reach

ADDRESSES = {"master": "192.168.1.200", "node01": "192.168.1.201", "node02": "192.168.1.202"}
CONFIG = {
    "kubeproxy.config.k8s.io": {
        "clusterCIDR": "10.244.0.0/16",
        "detectLocalMode": "",
        "detectLocal": {"bridgeInterface": "", "interfaceNamePrefix": ""},
        "ipvs": {"scheduler": ""},
        "nodePortAddresses": None,
    }
}
Change = Callable[[dict[str, str]], None]


def unchanged(_: dict[str, str]) -> None:
    """No change."""


class FakeReach(Reach):
    """The lab that `dumps/lab/MODE` was taken of.

    Attributes:
        changes: what is changed in a node's dumps, by node; a list of one a look, the last one stays.
        connections: what the script of connections prints there.
        silent: nodes that do not answer.
        looks: how often the nodes were looked at.
    """

    is_lab = True

    def __init__(self, mode: str = "iptables") -> None:
        super().__init__("kubectl", Path("kubeconfig"))
        self.mode = mode
        self.changes: dict[str, list[Change]] = {}
        self.connections: dict[str, str] = {}
        self.silent: set[str] = set()
        self.looks = 0
        self.lists: dict[str, list[Any]] = {
            "services": list(objects(f"lab/{mode}", "services")["items"]),
            "endpointslices": list(objects(f"lab/{mode}", "endpointslices")["items"]),
            "nodes": [node(name) for name in ADDRESSES],
            "pods": [],
        }

    def get(self, path: str) -> Object:
        return {"items": self.lists[path.rpartition("/")[2]]}

    def run(
        self, script: str, *, timeout: float = 30, only: Iterable[str] | None = None
    ) -> dict[str, shell.Result]:
        del timeout
        names = list(ADDRESSES if only is None else only)
        looking = script == commands.look()
        self.looks += looking
        return {
            name: shell.Result(("sh",), 1, "", "no route to host", 0.1)
            if name in self.silent
            else shell.Result(("sh",), 0, self._look(name) if looking else self.connections[name], "", 0.1)
            for name in names
        }

    def _look(self, name: str) -> str:
        texts = outputs(f"lab/{self.mode}/{name}")
        texts |= {"proxy-mode": self.mode, "configz": json.dumps(CONFIG), "last-sync": "1"}
        changes = self.changes.get(name, [unchanged])
        changes[min(self.looks, len(changes)) - 1](texts)
        return "".join(f"@@ lab dump {dump}\n{text.rstrip()}\n" for dump, text in texts.items())


def node(name: str) -> dict[str, Any]:
    """A Node object."""
    number = list(ADDRESSES).index(name)
    labels = {"node-role.kubernetes.io/control-plane": ""} if number == 0 else {}
    return {
        "metadata": {"name": name, "labels": labels},
        "spec": {"podCIDR": f"10.244.{number}.0/24"},
        "status": {"addresses": [{"type": "InternalIP", "address": ADDRESSES[name]}]},
    }


def replaced(dump: str, old: str, new: str) -> Change:
    """A change of some text in a dump."""

    def change(texts: dict[str, str]) -> None:
        assert old in texts[dump], old
        texts[dump] = texts[dump].replace(old, new, 1)

    return change


def without(dump: str, part: str) -> Change:
    """A change that takes away the first line with some text in it."""

    def change(texts: dict[str, str]) -> None:
        lines = texts[dump].splitlines(keepends=True)
        place = next(number for number, line in enumerate(lines) if part in line)
        texts[dump] = "".join(lines[:place] + lines[place + 1 :])

    return change
