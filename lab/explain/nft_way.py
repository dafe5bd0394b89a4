"""The nftables table walked rule by rule, with its maps."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from fractions import Fraction

from lab.explain import words
from lab.explain.nft_tests import Maps, Test, test_of
from lab.explain.walk import Amount, Flow, Record, Stream, join, part, rest
from lab.proxy.model import Endpoint, Refusal, UnrecognisedRule
from lab.proxy.nft_json import Element, NftRule, NftTable
from lab.proxy.nft_phrases import address, kept, marks

_DNAT = re.compile(r"dnat ([\d.]+):(\d+)")


class NftWay:
    """One walk through the table.

    Args:
        table: as parsed.
        maps: its elements by key.
        own: the node's addresses.
        record: gains the steps.
    """

    def __init__(self, table: NftTable, maps: Maps, own: frozenset[str], record: Record) -> None:
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
            of_output = "output" in rule.chain
            here = {one: flow[one] for one in flow if len(rules) == 1 or one.client.local is of_output}
            self._note(rule, 0, words.sentence([], words.to_chain(target)), here, leads=target)
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
        tests: list[Test] = []
        verdict = ""
        for text in rule.statements:
            test = None if text.startswith("counter ") else test_of(text, self._maps, self._own)
            if test is not None:
                tests.append(test)
            elif not text.startswith("counter ") and verdict not in ("", words.UNMARK):
                raise UnrecognisedRule(rule.raw, "it does two things at once", where=rule.chain)
            elif not text.startswith("counter "):
                # Taking the mark off is part of masquerading, in one rule or in one before it.
                verdict = words.UNMARK if text.startswith("mark set") and "^" in text else text
        if not any(self._about(tests, stream, amount) for stream, amount in flow.items()):
            return flow, {}
        conditions = [test.words for test in tests]
        for test in tests:
            if test.remembers:
                self._record.sticky = self._table.timeouts.get(test.remembers)
                conditions = [words.REMEMBERED.format(self._record.sticky)]
        taken = part(
            flow,
            {
                stream: Fraction(all(test.holds(stream, amount) for test in tests))
                for stream, amount in flow.items()
            },
        )
        if verdict.startswith("vmap") and not rule.choices:
            return self._look_up(rule, verdict, flow, taken, depth)
        return self._verdict(rule, verdict, conditions, (flow, taken), depth)

    @staticmethod
    def _about(tests: list[Test], stream: Stream, amount: Amount) -> bool:
        """Whether a rule is about where the stream goes, whoever connects."""
        return all(test.holds(stream, amount) for test in tests if not test.of_client)

    def _verdict(
        self, rule: NftRule, verdict: str, conditions: list[str], flows: tuple[Flow, Flow], depth: int
    ) -> tuple[Flow, Flow]:
        flow, taken = flows
        left, back = rest(flow, taken), Flow()
        what, _, target = verdict.partition(" ")
        if verdict.startswith(("vmap", "dnat map")):
            return left, self._choose(rule, conditions, taken, depth)
        end: Endpoint | None = None
        if found := _DNAT.fullmatch(verdict):
            end = (found[1], int(found[2]))
        action = f"send them to {end[0]}:{end[1]}" if end else self._action(rule, verdict)
        said = words.sentence(conditions, action)
        self._note(rule, depth, said, taken, end=end, leads=target if what in ("jump", "goto") else None)
        if end:
            self._record.arrive(taken, end)
        elif marks(verdict):
            left = join(left, {stream: amount._replace(marked=True) for stream, amount in taken.items()})
        elif what == "jump":
            left = join(left, self._chain(target, taken, depth + 1))
        elif what == "goto":
            back = self._chain(target, taken, depth + 1)
        elif what in ("reject", "drop"):
            self._record.refuse(taken, Refusal(what))
        elif what == "masquerade":
            self._record.masqueraded |= {(one.client, (one.to.ip, one.to.port)) for one in taken}
        elif what == "return":
            back = taken
        else:  # an update of a set, or a mark taken off: they go on
            left = flow
        return left, back

    @staticmethod
    def _action(rule: NftRule, verdict: str) -> str:
        """A verdict in words."""
        what, _, target = verdict.partition(" ")
        known = {
            "reject": words.REJECT,
            "drop": words.DROP,
            "masquerade": words.MASQUERADE,
            "return": words.RETURN,
            "update": words.NOTE,
            "jump": words.to_chain(target),
            "goto": words.to_chain(target),
        }
        if marks(verdict):
            return words.MARK
        if verdict == words.UNMARK:
            return words.UNMARK
        if what not in known:
            raise UnrecognisedRule(rule.raw, f"{verdict!r} is not known there", where=rule.chain)
        return known[what]

    def _look_up(self, rule: NftRule, verdict: str, flow: Flow, taken: Flow, depth: int) -> tuple[Flow, Flow]:
        """`vmap KEY @MAP`: where the map has the destination, its verdict is done."""
        elements = self._maps.get(verdict.rpartition(" @")[2], {})
        by_element: dict[str, tuple[Element, Flow]] = {}
        for stream, amount in taken.items():
            low, port = stream.to.protocol.lower(), str(stream.to.port)
            element = elements.get((stream.to.ip, low, port) if "daddr" in verdict else (low, port))
            if element is not None:
                by_element.setdefault(element.raw, (element, {}))[1][stream] = amount
        returned: Flow = {}
        for element, found in by_element.values():
            *ip, protocol, port = element.key
            where = f"to {ip[0]}:{port}/" if ip else f"to NodePort {port}/"
            verdict_words = element.value or ""
            what, _, target = verdict_words.partition(" ")
            said = words.sentence([where + protocol.upper()], self._action(rule, verdict_words))
            text = f"{verdict} has {' . '.join(element.key)} : {verdict_words}"
            self._note(rule, depth, said, found, leads=target or None, text=text)
            flow = rest(flow, found)
            if what == "drop":
                self._record.refuse(found, Refusal.DROP)
            else:
                returned = join(returned, self._chain(target, found, depth + 1))
        return flow, returned

    def _choose(self, rule: NftRule, conditions: list[str], taken: Flow, depth: int) -> Flow:
        """A random number picks an endpoint, or the chain of one."""
        returned: Flow = {}
        self._note(rule, depth, words.sentence(conditions, f"draw a number below {rule.modulus}"), taken)
        for outcome, count in Counter(kept(rule)).items():
            numbers = [str(number) for number, value in rule.choices.items() if value == outcome]
            share = Fraction(count, rule.modulus)
            some = part(taken, dict.fromkeys(taken, share))
            text = f"{', '.join(numbers)} : {outcome}"
            chain = outcome.removeprefix("goto ")
            if chain != outcome:
                said = f"{words.share(share)} of them: {words.to_chain(chain)}"
                self._note(rule, depth, words.sentence([], said), some, leads=chain, text=text)
                returned = join(returned, self._chain(chain, some, depth + 1))
            else:
                end = address(outcome)
                said = f"send {words.share(share)} of them to {end[0]}:{end[1]}"
                self._note(rule, depth, words.sentence([], said), some, end=end, text=text)
                self._record.arrive(some, end)
        return returned

    def _note(
        self,
        rule: NftRule,
        depth: int,
        said: str,
        taken: Flow,
        *,
        end: Endpoint | None = None,
        leads: str | None = None,
        text: str | None = None,
    ) -> None:
        shown = " ".join(rule.statements) if text is None else text
        self._record.step(f"chain {rule.chain}", depth, shown, said, taken, end=end, leads=leads)
