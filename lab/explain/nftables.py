"""nftables mode: one table, walked by its base chains in the kernel's order of hooks and priorities.

Upstream: `setupNFTables` and `syncProxyRules` in `pkg/proxy/nftables/proxier.go`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from fractions import Fraction

from lab.explain import words
from lab.explain.course import Course, arriving, local
from lab.explain.nft_tests import Test, test_of
from lab.explain.walk import Flow, Record, join, part, rest
from lab.proxy.model import Endpoint, Frontend, Refusal, UnrecognisedRule
from lab.proxy.nft_json import Element, NftRule, NftTable, parse
from lab.proxy.nft_phrases import address, kept, marks

_DNAT = re.compile(r"dnat ([\d.]+):(\d+)")


class NftablesCourse(Course):
    """See `Course`."""

    def read(self, outputs: Mapping[str, str]) -> None:
        """See `Course.read`."""
        self._table = parse(outputs["nft"]) or NftTable()
        self._maps = {
            name: {element.key: element for element in elements}
            for name, elements in self._table.elements.items()
        }

    def follow(self, to: Frontend, flow: Flow, record: Record) -> None:
        """See `Course.follow`."""
        way = _Way(self._table, self._maps, self.own, record)
        left = way.hook({"filter-output-pre-dnat": local(flow), "filter-prerouting-pre-dnat": arriving(flow)})
        left = way.hook({"nat-output": local(left), "nat-prerouting": arriving(left)})
        mine = way.hook({"filter-output": local(left)})
        if to.ip in self.own:  # what the node sends to itself goes out and comes in again
            way.hook({"filter-input": join(mine, arriving(left))})
        else:
            way.hook({"filter-forward": arriving(left)})
        way.hook({"nat-postrouting": record.leaving(to.protocol)})


class _Way:
    """One walk through the table."""

    def __init__(
        self,
        table: NftTable,
        maps: Mapping[str, Mapping[tuple[str, ...], Element]],
        own: frozenset[str],
        record: Record,
    ) -> None:
        self._table, self._maps, self._own, self._record = table, maps, own, record

    def hook(self, flows: Mapping[str, Flow]) -> Flow:
        """Walk base chains that different streams pass; returns what goes on from there.

        Those that jump to the same chains are walked once for all streams.
        """
        flows = {base: flow for base, flow in flows.items() if flow}
        rules = {base: self._rules(base) for base in flows}
        together = len({tuple(rule.statements for rule in found) for found in rules.values()}) == 1
        left: Flow = {}
        for bases in [tuple(flows)] if together else [(base,) for base in flows]:
            flow = join(*(flows[base] for base in bases))
            for same in zip(*(rules[base] for base in bases), strict=True):
                flow = self._jump(same, flow)
            left = join(left, flow)
        return left

    def _rules(self, chain: str) -> list[NftRule]:
        return self._table.chains[chain].rules if chain in self._table.chains else []

    def _jump(self, rules: tuple[NftRule, ...], flow: Flow) -> Flow:
        """One jump out of base chains; it is shown only if something in the chain is about these streams."""
        target = rules[0].statements[-1].removeprefix("jump ")
        before = len(self._record.steps)
        for rule in rules:
            here = {
                one: flow[one]
                for one in flow
                if len(rules) == 1 or one.client.local is ("output" in rule.chain)
            }
            said = words.sentence([], words.to_chain(target))
            self._record.step(f"chain {rule.chain}", 0, " ".join(rule.statements), said, here, leads=target)
        shown = len(self._record.steps)
        flow = self._chain(target, flow, 1)
        if len(self._record.steps) == shown:
            del self._record.steps[before:]
        return flow

    def _chain(self, chain: str, flow: Flow, depth: int) -> Flow:
        """Walk one chain; returns what comes back from it."""
        returned: Flow = {}
        for rule in self._rules(chain):
            if not flow:
                break
            flow, back = self._rule(rule, flow, depth)
            returned = join(returned, back)
        return join(flow, returned)

    def _rule(self, rule: NftRule, flow: Flow, depth: int) -> tuple[Flow, Flow]:
        """One rule; returns what goes on to the next one, and what has left the chain."""
        *tests, end = [word for word in rule.statements if not word.startswith("counter ")]
        found: list[Test] = []
        actions = []
        for text in tests:
            test = test_of(text, self._maps, self._own)
            if test is None:
                actions.append(text)
            else:
                found.append(test)
        if not any(
            all(test.holds(stream, amount) for test in found if not test.of_client)
            for stream, amount in flow.items()
        ):
            return flow, {}
        holds = {
            stream: Fraction(all(test.holds(stream, amount) for test in found))
            for stream, amount in flow.items()
        }
        conditions = [test.words for test in found]
        for test in found:
            if test.timeout_set:
                self._record.sticky = self._table.timeouts.get(test.timeout_set)
                conditions = [words.REMEMBERED.format(self._record.sticky)]
        return self._verdict(rule, [*actions, end], conditions, flow, part(flow, holds), depth)

    def _verdict(
        self, rule: NftRule, actions: list[str], conditions: list[str], flow: Flow, taken: Flow, depth: int
    ) -> tuple[Flow, Flow]:
        *_, verdict = actions
        left = rest(flow, taken)
        text = " ".join(rule.statements)

        def note(action: str, took: Flow = taken, end: Endpoint | None = None) -> None:
            said = words.sentence(conditions, action)
            leads = target if what in ("jump", "goto") else None
            self._record.step(f"chain {rule.chain}", depth, text, said, took, end=end, leads=leads)

        what, _, target = verdict.partition(" ")
        if marks(verdict):
            note(words.MARK)
            marked = {stream: amount._replace(marked=True) for stream, amount in taken.items()}
            return join(left, marked), {}
        if what in ("jump", "goto"):
            note(words.to_chain(target))
            back = self._chain(target, taken, depth + 1) if taken else {}
            return (join(left, back), {}) if what == "jump" else (left, back)
        if what == "vmap" and not rule.choices:
            return self._look_up(rule, verdict, flow, taken, depth)
        if what == "vmap" or verdict.startswith("dnat map"):
            return left, self._choose(rule, conditions, taken, depth)
        if found := _DNAT.fullmatch(verdict):
            end = (found[1], int(found[2]))
            note(f"send them to {end[0]}:{end[1]}", end=end)
            self._record.arrive(taken, end)
            return left, {}
        if what in ("reject", "drop"):
            note(words.REJECT if what == "reject" else words.DROP)
            self._record.refuse(taken, Refusal(what))
            return left, {}
        if what == "masquerade":
            note(words.MASQUERADE)
            self._record.masqueraded |= {(one.client, (one.to.ip, one.to.port)) for one in taken}
            return left, {}
        if what == "return":
            note(words.RETURN)
            return left, taken
        if verdict.startswith("mark set"):
            note(words.UNMARK)
            return flow, {}
        if what == "update":
            note(words.NOTE)
            return flow, {}
        raise UnrecognisedRule(rule.raw, f"{verdict!r} is not known there", where=rule.chain)

    def _look_up(self, rule: NftRule, verdict: str, flow: Flow, taken: Flow, depth: int) -> tuple[Flow, Flow]:
        """`vmap KEY @MAP`: where the map has the destination, its verdict is done."""
        name = verdict.rpartition(" @")[2]
        elements = self._maps.get(name, {})
        by_element: dict[str, tuple[Element, Flow]] = {}
        for stream, amount in taken.items():
            low = stream.to.protocol.lower()
            key = (
                (low, str(stream.to.port))
                if "daddr" not in verdict
                else (stream.to.ip, low, str(stream.to.port))
            )
            element = elements.get(key)
            if element is not None:
                by_element.setdefault(element.raw, (element, {}))[1][stream] = amount
        returned: Flow = {}
        for element, found in by_element.values():
            key_text, value = " . ".join(element.key), element.value or ""
            where = (
                f"to {element.key[0]}:{element.key[2]}/{element.key[1].upper()}"
                if len(element.key) > 2
                else (
                    f"to port {element.key[1]}/{element.key[0].upper()} of an address that serves NodePorts"
                )
            )
            what, _, target = value.partition(" ")
            action = words.to_chain(target) if target else words.DROP if what == "drop" else what
            self._record.step(
                f"chain {rule.chain}",
                depth,
                f"{verdict} has {key_text} : {value}",
                words.sentence([where], action),
                found,
                leads=target or None,
            )
            flow = rest(flow, found)
            if what == "drop":
                self._record.refuse(found, Refusal.DROP)
            else:
                back = self._chain(target, found, depth + 1)
                returned = join(returned, back)
        # A map's goto ends the chain, but not the hook: the caller's next rule is tried.
        return flow, returned

    def _choose(self, rule: NftRule, conditions: list[str], taken: Flow, depth: int) -> Flow:
        """A random number picks an endpoint, or the chain of one."""
        returned: Flow = {}
        kept_tests = [words_ for words_ in conditions if not words_.startswith("of protocol")]
        head = " ".join(rule.statements)
        outcomes = Counter(kept(rule))
        self._record.step(
            f"chain {rule.chain}",
            depth,
            head,
            words.sentence(kept_tests, f"draw a number below {rule.modulus}"),
            taken,
        )
        for outcome, count in outcomes.items():
            numbers = [str(number) for number, value in rule.choices.items() if value == outcome]
            share = Fraction(count, rule.modulus)
            some = part(taken, dict.fromkeys(taken, share))
            label = f"{', '.join(numbers)} : {outcome}"
            if outcome.startswith("goto "):
                chain = outcome.removeprefix("goto ")
                said = f"{words.share(share)} of them: {words.to_chain(chain)}"
                self._record.step(
                    f"chain {rule.chain}", depth, label, words.sentence([], said), some, leads=chain
                )
                returned = join(returned, self._chain(chain, some, depth + 1))
            else:
                end = address(outcome)
                said = f"send {words.share(share)} of them to {end[0]}:{end[1]}"
                self._record.step(
                    f"chain {rule.chain}", depth, label, words.sentence([], said), some, end=end
                )
                self._record.arrive(some, end)
        return returned
