"""iptables' chains walked rule by rule, as `iptables-save -c` prints them: iptables' and ipvs mode's."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from lab.explain import words
from lab.explain.iptables_rule import OURS, Meaning, understand
from lab.explain.walk import Flow, Record, join, part, rest
from lab.proxy.ipset_save import IpSet
from lab.proxy.iptables_chains import MARK_MASQ
from lab.proxy.iptables_owned import SERVICE_PREFIXES
from lab.proxy.iptables_save import Rule, Table
from lab.proxy.model import Refusal

_COUNTERS = re.compile(r"^\[(\d+):\d+\] ")
_TARGET = re.compile(r" -[jg] (\S+)")
# kubelet's, and what lets connections on that have been decided already.
_NOT_FOLLOWED = frozenset({"KUBE-FIREWALL", "KUBE-FORWARD"})


class Netfilter:
    """One node's chains.

    Args:
        tables: as parsed.
        own: the node's addresses, those bound for ipvs too.
        sets: ipsets by name.
        record: gains the steps.
    """

    def __init__(
        self, tables: Mapping[str, Table], own: Iterable[str], sets: Mapping[str, IpSet], record: Record
    ) -> None:
        self._tables, self._own, self._sets, self._record = tables, frozenset(own), sets, record
        self._accepted: Flow = {}

    def hook(self, table: str, flows: Mapping[str, Flow]) -> Flow:
        """Walk what kube-proxy has at base chains that different streams pass; returns what goes on.

        Args:
            table: the table's name.
            flows: what passes each base chain. Chains that jump to the same are walked once for all of them.
        """
        flows = {base: flow for base, flow in flows.items() if flow}
        jumps = {base: self._jumps(table, base) for base in flows}
        self._accepted = {}
        together = len({tuple(target for target, _ in found) for found in jumps.values()}) == 1
        left: Flow = {}
        for bases in [tuple(flows)] if together else [(base,) for base in flows]:
            flow = join(*(flows[base] for base in bases))
            for same in zip(*(jumps[base] for base in bases), strict=True):
                flow = self._jump(table, same[0][0], [raw for _, raw in same], flow)
            left = join(left, flow)
        return join(left, self._accepted)

    def _jumps(self, table: str, base: str) -> list[tuple[str, str]]:
        """kube-proxy's rules in a base chain: target and text."""
        found = []
        for raw in self._tables.get(table, Table()).chains.get(base, ()):
            target = _TARGET.search(raw)
            if target and target[1].startswith(OURS) and target[1] not in _NOT_FOLLOWED:
                found.append((target[1], raw))
        return found

    def _jump(self, table: str, target: str, rules: list[str], flow: Flow) -> Flow:
        """One jump out of base chains; it is shown only if something in the chain is about these streams."""
        before = len(self._record.steps)
        for raw in rules:
            rule = Rule(raw)
            of_output = rule.chain == "OUTPUT"
            here = {one: flow[one] for one in flow if len(rules) == 1 or one.client.local is of_output}
            self._note(table, rule, understand(rule, self._own, self._sets), here, 0)
        shown = len(self._record.steps)
        flow = self._chain(table, target, flow, 1)
        if len(self._record.steps) == shown:
            del self._record.steps[before:]
        return flow

    def _chain(self, table: str, chain: str, flow: Flow, depth: int) -> Flow:
        """Walk one chain; returns what comes back from it."""
        returned: Flow = {}
        for rule in self._tables[table].rules(chain):
            if not flow:
                break
            meaning = understand(rule, self._own, self._sets)
            if any(map(meaning.about, flow)):
                flow, back = self._rule(table, rule, meaning, flow, depth)
                returned = join(returned, back)
        return join(flow, returned)

    def _rule(self, table: str, rule: Rule, meaning: Meaning, flow: Flow, depth: int) -> tuple[Flow, Flow]:
        """One rule; returns what goes on to the next one, and what has gone back to the chain before."""
        taken = part(flow, {stream: meaning.takes(stream, amount) for stream, amount in flow.items()})
        self._note(table, rule, meaning, taken, depth)
        left, back, target = rest(flow, taken), Flow(), meaning.target
        if meaning.sticky is not None:
            self._record.sticky = meaning.sticky
        if target == MARK_MASQ:
            left = join(left, self._mark(table, taken))
        elif target.startswith(OURS) and taken:
            left = join(left, self._deeper(table, target, taken, depth + 1))
        elif target == "RETURN":
            back = taken
        elif target in ("MARK", ""):
            left = flow
        elif meaning.end is not None:
            self._record.arrive(taken, meaning.end)
        elif target in ("REJECT", "DROP"):
            self._record.refuse(taken, Refusal(target.lower()))
        elif target == "ACCEPT":
            self._accepted = join(self._accepted, taken)
        elif target == "MASQUERADE":
            self._record.masqueraded |= {(one.client, (one.to.ip, one.to.port)) for one in taken}
        return left, back

    def _deeper(self, table: str, target: str, taken: Flow, depth: int) -> Flow:
        """The chain a rule jumps to; the jump is not shown if nothing in the chain is about these streams."""
        shown = len(self._record.steps)
        left = self._chain(table, target, taken, depth)
        if len(self._record.steps) == shown and not target.startswith(SERVICE_PREFIXES):
            self._record.steps.pop()
        return left

    def _mark(self, table: str, taken: Flow) -> Flow:
        """KUBE-MARK-MASQ is one rule that everything else only refers to: it is not shown each time."""
        marks = any(" -j MARK " in raw for raw in self._tables[table].chains.get(MARK_MASQ, ()))
        return {stream: amount._replace(marked=amount.marked or marks) for stream, amount in taken.items()}

    def _note(self, table: str, rule: Rule, meaning: Meaning, taken: Flow, depth: int) -> None:
        counted = _COUNTERS.match(rule.raw)
        self._record.step(
            f"{table} {rule.chain}",
            depth,
            _COUNTERS.sub("", rule.raw),
            words.sentence(meaning.conditions, meaning.action),
            taken,
            packets=int(counted[1]) if counted else None,
            end=meaning.end,
            leads=meaning.target if meaning.target.startswith(OURS) else None,
        )
