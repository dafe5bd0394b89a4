"""Whether this machine can be a client outside a cluster: does it reach the nodes' own addresses?

Nodes of somebody's cluster often have private addresses that mean another machine, or none, where we are. So
nothing is sent to an address that only the default route knows, and what answers must be a kube-proxy.
"""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from lab import shell
from lab.errors import LabError

HEALTH = 10256
"""kube-proxy's healthz port, the same that load balancers ask."""
WAIT = 3.0


def why_not(addresses: Iterable[str]) -> str:
    """Why nodes cannot be reached from here by these addresses; empty where all can."""
    wanted = list(addresses)
    with ThreadPoolExecutor(max(1, min(32, len(wanted)))) as pool:
        answers = dict(zip(wanted, pool.map(_answers, wanted), strict=True))
    silent = [address for address, answers in answers.items() if not answers]
    return f"this machine does not reach the nodes at {', '.join(silent)}" if silent else ""


def _answers(address: str) -> bool:
    return on_link(address) and is_kube_proxy(address)


def on_link(address: str) -> bool:
    """Whether a network of this machine's own has that address."""
    try:
        said = shell.run(["ip", "-j", "route", "get", address], timeout=10, check=False)
        routes = json.loads(said.stdout or "[]")
    except (LabError, ValueError):
        return False
    return bool(said.ok and routes and "gateway" not in routes[0])


def is_kube_proxy(address: str) -> bool:
    """Whether a kube-proxy answers there."""
    connection = http.client.HTTPConnection(address, HEALTH, timeout=WAIT)
    try:
        connection.request("GET", "/healthz")
        return "lastUpdated" in json.loads(connection.getresponse().read())
    except (OSError, ValueError, http.client.HTTPException):
        return False
    finally:
        connection.close()
