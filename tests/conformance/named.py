"""Services and pods for others to look up: a normal Service, two headless ones, and the pods behind them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from .asking import KNOWN, full
from .stage import Published, Stage
from .waiting import wait_until
from .workload import TARGET_PORT

LABELS = {"run": "named"}
PORTS = [
    {"name": "http", "port": 80, "targetPort": TARGET_PORT},
    {"name": "ask", "port": 5300, "targetPort": TARGET_PORT, "protocol": "UDP"},
]
NORMAL, HEADLESS, EARLY = "normal", "headless", "early"
READY, ALL = ("first", "second"), ("first", "second", "third")
"""The pods' hostnames, which mytest answers with: those behind HEADLESS, and those behind EARLY, which
publishes pods that are not ready as well."""


@dataclass(frozen=True)
class Named:
    """A normal Service, two headless ones, and the pods behind them."""

    stage: Stage
    normal: Published
    pods: Mapping[str, str]
    """Hostname to pod. They have the subdomain `headless`; the third is not ready."""
    guest: str
    """An ordinary pod of the namespace, with the network tools."""
    on_host: str
    """A hostNetwork pod with the network tools, and the dnsPolicy ClusterFirstWithHostNet."""

    def full(self, name: str) -> str:
        """An absolute name of this namespace."""
        return full(name, self.stage.namespace)

    def ips(self, hosts: Collection[str] = READY) -> set[str]:
        """The IPs of some of the pods, by their hostnames."""
        return {self.stage.ip(self.pods[host]) for host in hosts}


def put_up(stage: Stage) -> Named:
    """Put them up, and wait until the ready pods serve."""
    normal = stage.service(LABELS, name=NORMAL, ports=PORTS)
    stage.service(LABELS, name=HEADLESS, ports=PORTS, clusterIP="None")
    stage.service(LABELS, name=EARLY, ports=PORTS, clusterIP="None", publishNotReadyAddresses=True)
    pods = {
        host: stage.pod({**LABELS, "host": host}, ready=host in READY, hostname=host, subdomain=HEADLESS)
        for host in ALL
    }
    guest = stage.pod({}, server=False, client=True)
    # Its server's port would be the node's own, which another test may have taken.
    host_net: dict[str, Any] = {"hostNetwork": True, "dnsPolicy": "ClusterFirstWithHostNet"}
    on_host = stage.pod({}, server=False, client=True, **host_net)
    stage.settle(normal, [pods[host] for host in READY], port="http")
    stage.wait(guest, on_host)
    found = Named(stage, normal, pods, guest, on_host)
    wait_until("the pod that is never ready to have an IP", lambda: found.ips(ALL), timeout=KNOWN)
    return found
