"""Observed traffic against the rules: a few connections from every node to its ClusterIPs, and counters.

What is compared, for each ClusterIP of TCP: that connections are made where the rules have backends, and
refused where they refuse; that each went to an endpoint the rules allow (connection tracking says so); that
the rules' own counters moved by at least as many; and that session affinity kept a client's together.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

from lab.errors import LabError
from lab.proxy import counters
from lab.proxy.compare import Difference
from lab.proxy.model import Endpoint, Frontend, Kind, Refusal, ServiceRules
from lab.reach.base import Reach
from lab.verify import connections
from lab.verify.connections import Connections, Tracked
from lab.verify.view import Objects, View, look

EACH = 3
"""Connections to each address that has backends."""
MOST = 60
"""Addresses that each node tries at most."""
TIME = 60.0
"""Seconds for one node's connections."""
TRIES = 3
"""Rounds until one is found in which no kube-proxy rewrote its rules, and with them their counters."""
ADDED_UP = 6.0
"""Seconds until ipvs has added its counters up."""


@dataclass(frozen=True)
class Traffic:
    """What was tried, and what of it disagrees.

    Attributes:
        connections: how many were made.
        addresses: how many addresses were tried on each node, of `all_addresses` that could be.
        counted: nodes whose counters could be compared.
    """

    connections: int
    addresses: int
    all_addresses: int
    counted: tuple[str, ...]
    differences: tuple[Difference, ...]


def observe(reach: Reach, objects: Objects, views: Mapping[str, View]) -> Traffic:
    """Try every node.

    Raises:
        LabError: a node does not answer.
    """
    for turn in range(TRIES):
        found, quiet = _round(reach, objects, views)
        if quiet or turn == TRIES - 1:
            break
        views = look(reach, objects, only=views)
    return found


def targets(view: View) -> list[tuple[Frontend, int]]:
    """ClusterIPs of TCP that answer at once: those with backends, and those that refuse."""
    return [
        (front, EACH if rules.backends else 1)
        for front, rules in sorted(view.rules.services.items())
        if rules.kind is Kind.CLUSTER
        and front.protocol == "TCP"
        and (rules.backends or rules.refusal is Refusal.REJECT)
    ]


def _round(reach: Reach, objects: Objects, before: Mapping[str, View]) -> tuple[Traffic, bool]:
    """One round, and whether no rules were rewritten meanwhile."""
    wanted = {name: targets(view) for name, view in before.items()}
    most = max((len(each) for each in wanted.values()), default=0)
    scripts = {name: connections.script(each[:MOST]) for name, each in wanted.items() if each}
    # Nodes differ little: those with the same addresses run the same script, at the same time.
    said: dict[str, Connections] = {}
    for script in dict.fromkeys(scripts.values()):
        names = [name for name, own in scripts.items() if own == script]
        for name, result in reach.run(script, timeout=TIME, only=names).items():
            if not result.ok:
                raise LabError(
                    f"Connections from {name} could not be tried.", details=result.stderr.splitlines()[-3:]
                )
            said[name] = connections.read(result.stdout)
    after = _added_up(reach, objects, before, said)
    found: list[Difference] = []
    counted: list[str] = []
    quiet = True
    for name, one in said.items():
        still = before[name].outputs.get("last-sync") == after[name].outputs.get("last-sync")
        quiet = quiet and still
        judged = _Judge(objects, before[name], after[name], one, counts=still)
        found += judged.differences()
        if still and before[name].mode != "nftables":
            counted.append(name)
    made = sum(tried.made for one in said.values() for tried in one.tried.values())
    return Traffic(made, min(most, MOST), most, tuple(counted), tuple(found)), quiet


def _added_up(
    reach: Reach, objects: Objects, before: Mapping[str, View], said: Mapping[str, Connections]
) -> dict[str, View]:
    """The nodes as they are afterwards; of ipvs once its counters have moved, which takes it a moment."""
    end = time.monotonic() + ADDED_UP
    while True:
        after = look(reach, objects, only=said)
        late = [
            name
            for name in said
            if _Judge(objects, before[name], after[name], said[name], counts=True).lagging()
        ]
        if not any(after[name].mode == "ipvs" for name in late) or time.monotonic() > end:
            return after
        time.sleep(0.5)


class _Judge:
    """One node's connections, held against its rules before and after."""

    def __init__(
        self, objects: Objects, before: View, after: View, said: Connections, *, counts: bool
    ) -> None:
        self.objects, self.before, self.after, self.said, self.counts = objects, before, after, said, counts
        self._chosen = connections.chosen(said.new)
        self._stats = [counters.of_ipvs(view.outputs.get("ipvs-stats", "")) for view in (before, after)]

    def differences(self) -> list[Difference]:
        return [
            fault
            for front, tried in self.said.tried.items()
            for fault in self._of(front, tried.made, tried.why)
        ]

    def lagging(self) -> bool:
        """Whether a counter has moved by less than the connections that went by it."""
        return any(self._short(front) for front in self.said.tried)

    def _rules(self, front: Frontend) -> list[ServiceRules]:
        both = [view.rules.services.get(front) for view in (self.before, self.after)]
        return [rules for rules in both if rules is not None]

    def _of(self, front: Frontend, made: int, why: str) -> list[Difference]:
        rules = self._rules(front)
        allowed = {end for each in rules for end in each.endpoints}
        steady = len(rules) == 2 and rules[0] == rules[1]
        if not allowed:
            if made and steady:
                return [self._difference(front, "traffic", "refused, there are no backends", "connected")]
            return []
        found = []
        if why and steady:
            found.append(self._difference(front, "traffic", f"a connection to one of {_list(allowed)}", why))
        chosen = self._chosen.get(front, {})
        if strangers := set(chosen) - allowed:
            found.append(
                self._difference(
                    front, "traffic", f"only {_list(allowed)}", f"a connection to {_list(strangers)}"
                )
            )
        if sum(chosen.values()) < made:
            seen = f"{sum(chosen.values())} of {made} are in the node's connection tracking"
            found.append(self._difference(front, "traffic", "connections translated by the rules", seen))
        if steady and rules[0].affinity and (torn := self._torn(front)):
            found.append(
                self._difference(front, "traffic", "one endpoint for each client (session affinity)", torn)
            )
        if self.counts and steady and (short := self._short(front)):
            found.append(self._difference(front, "counters", *short))
        return found

    def _torn(self, front: Frontend) -> str | None:
        by_client: dict[str, set[Endpoint]] = {}
        for one in self.said.new:
            if one.frontend == front:
                by_client.setdefault(_client(one), set()).add(one.endpoint)
        return next((f"{ip} at {_list(ends)}" for ip, ends in by_client.items() if len(ends) > 1), None)

    def _short(self, front: Frontend) -> tuple[str, str] | None:
        """What the counters should have moved by at least, and what they did, if that is less."""
        rules = self._rules(front)
        if len(rules) < 2 or front not in self._chosen:
            return None
        was, now = (
            counters.counted(view.mode, each, stats, front)
            for view, each, stats in zip((self.before, self.after), rules, self._stats, strict=True)
        )
        if was is None or now is None:
            return None
        moved = {end: now.get(end, 0) - was.get(end, 0) for end in self._chosen[front]}
        for end, count in self._chosen[front].items():
            if moved[end] < count:
                return f"{count} connections to {_list({end})} counted", f"{moved[end]}"
        return None

    def _title(self, front: Frontend) -> str | None:
        """The Service that an address is of, where rules don't tell (ipvs)."""
        expected = self.after.expected(self.objects).services.get(front)
        return expected.service if expected else None

    def _difference(self, front: Frontend, layer: str, expected: str, seen: str) -> Difference:
        rules = self._rules(front)
        return Difference(
            node=self.before.node.name,
            mode=self.before.mode,
            service=(rules[-1].service if rules else None) or self._title(front),
            frontend=front,
            layer=layer,
            expected=expected,
            seen=seen,
            raw=rules[-1].raw if rules else (),
        )


def _client(one: Tracked) -> str:
    return one.client[0]


def _list(ends: set[Endpoint] | frozenset[Endpoint]) -> str:
    return ", ".join(f"{ip}:{port}" for ip, port in sorted(ends)) or "none"
