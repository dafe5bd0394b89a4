"""How many new connections each rule has had, where the mode counts them: iptables and ipvs do, nftables not.

iptables: the nat table sees the first packet of each connection only, so a rule's packets are connections.
ipvs: connections of each real server, which the kernel adds up every two seconds.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from lab.proxy.model import Endpoint, Frontend, ServiceRules

_IPTABLES = re.compile(r"^\[(\d+):\d+\] -A \S+ .*-j DNAT --to-destination (\S+):(\d+)")
_VIRTUAL = re.compile(r"^(TCP|UDP|SCTP)\s+([\d.]+):(\d+)\s+(\d+)\s")
_REAL = re.compile(r"^\s+-> ([\d.]+):(\d+)\s+(\d+)\s")


def of_rules(rules: ServiceRules) -> dict[Endpoint, int]:
    """Connections translated to each endpoint, by the rules of one frontend in iptables mode.

    A chain that several frontends share counts for all of them.
    """
    found: dict[Endpoint, int] = {}
    for line in dict.fromkeys(rules.raw):
        if match := _IPTABLES.match(line):
            end = match[2], int(match[3])
            found[end] = found.get(end, 0) + int(match[1])
    return found


def of_ipvs(stats: str) -> dict[Frontend, dict[Endpoint, int]]:
    """Connections by virtual and real server, from `ipvsadm -Ln --stats --exact`."""
    found: dict[Frontend, dict[Endpoint, int]] = {}
    current: dict[Endpoint, int] = {}
    for line in stats.splitlines():
        if match := _VIRTUAL.match(line):
            current = found.setdefault(Frontend(match[2], int(match[3]), match[1]), {})
        elif match := _REAL.match(line):
            current[match[1], int(match[2])] = int(match[3])
    return found


def counted(
    mode: str, rules: ServiceRules, stats: Mapping[Frontend, Mapping[Endpoint, int]], front: Frontend
) -> dict[Endpoint, int] | None:
    """Connections to each endpoint of a frontend so far; None where the mode counts none."""
    if mode == "iptables":
        return of_rules(rules)
    if mode == "ipvs":
        return dict(stats.get(front, {}))
    return None
