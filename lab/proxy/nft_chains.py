"""The chains kube-proxy makes for one Service port in nftables mode, each turned into a value.

`service-*` / `local-*` the choice among all / local endpoints, `endpoint-*` one endpoint (with session
affinity, and always before 1.36), `external-*` traffic to external destinations, `firewall-*` source ranges.
Upstream: `syncProxyRules` and the functions it ends with in `pkg/proxy/nftables/proxier.go`, 1.34 and 1.37.
"""

from __future__ import annotations

from collections import Counter
from fractions import Fraction

from lab.proxy.chains import Balance, EndpointChain, External, Firewall, affinity_faults
from lab.proxy.model import Backend, Frontend, Masquerade, UnrecognisedRule, sort_backends
from lab.proxy.nft_json import NftRule, NftTable
from lab.proxy.nft_phrases import address, kept, marks, pods, protocol_of, translation

_BALANCERS = ("service-", "local-")


class NftChains:
    """The chains of Services; each is read once."""

    def __init__(self, table: NftTable) -> None:
        self._table = table
        self._balances: dict[str, Balance] = {}
        self._endpoints: dict[str, EndpointChain] = {}
        self._externals: dict[str, External] = {}

    def check(self) -> None:
        """Read them all, so that an unknown rule is found even in a chain nothing uses."""
        for name, chain in self._table.chains.items():
            if "/" not in name or not chain.rules:
                continue  # kube-proxy flushes a chain a while before it deletes it
            kind = name.partition("-")[0]
            if kind in ("service", "local"):
                self.balance(name)
            elif kind == "endpoint":
                self.endpoint(name)
            elif kind == "external":
                self.external(name)
            elif kind == "firewall":
                self.firewall(name)
            else:
                raise UnrecognisedRule(chain.rules[0].raw, "no such chain is known", where=name)

    def _rules(self, chain: str) -> list[NftRule]:
        return self._table.chains[chain].rules if chain in self._table.chains else []

    def _raw(self, chain: str) -> tuple[str, ...]:
        return tuple(rule.raw for rule in self._rules(chain))

    def endpoint(self, chain: str) -> EndpointChain:
        """Read `endpoint-*`."""
        if chain in self._endpoints:
            return self._endpoints[chain]
        source, remembers, found = None, False, None
        for rule in self._rules(chain):
            match rule.statements:
                case (test, mark) if marks(mark) and found is None:
                    source = pods(test, "==")
                case (update,) if update == f"update @affinity-{chain.removeprefix('endpoint-')} ip saddr":
                    remembers = True
                case _:
                    found = translation(rule)
        if found is None:
            raw = "\n".join(self._raw(chain)) or f"chain {chain}"
            raise UnrecognisedRule(raw, "it leads to no endpoint", where=chain)
        result = EndpointChain(found[0], found[1], source == found[0][0], remembers, self._raw(chain))
        self._endpoints[chain] = result
        return result

    def balance(self, chain: str) -> Balance:
        """Read `service-*` or `local-*`."""
        if chain in self._balances:
            return self._balances[chain]
        masquerade: dict[Frontend, tuple[Masquerade, str | None]] = {}
        sticky: dict[str, int] = {}
        ends: dict[str, EndpointChain] = {}
        shares: Counter[str] = Counter()
        backends: list[Backend] = []
        protocols: set[str] = set()
        for rule in self._rules(chain):
            match rule.statements:
                case (to, *test, mark) if marks(mark) and to.startswith("ip daddr == ") and len(test) <= 1:
                    told = pods(test[0], "!=") if test else None
                    if test and told is None:
                        raise UnrecognisedRule(rule.raw, f"{test[0]!r} is not known there", where=chain)
                    ip = to.removeprefix("ip daddr == ")
                    # The rule holds for every port of the ClusterIP that leads here.
                    masquerade[Frontend(ip, 0, "")] = (
                        Masquerade.OUTSIDE if told else Masquerade.ALWAYS,
                        told,
                    )
                case (test, goto) if test.startswith("ip saddr == @affinity-"):
                    name = test.removeprefix("ip saddr == @")
                    if goto != f"goto endpoint-{name.removeprefix('affinity-')}":
                        raise UnrecognisedRule(rule.raw, "the set is of another endpoint", where=chain)
                    sticky[goto.removeprefix("goto ")] = self._table.timeouts.get(name, 0)
                case (vmap,) if vmap.startswith("vmap numgen ") and rule.choices:
                    shares.update(outcome.removeprefix("goto ") for outcome in kept(rule))
                    ends = {name: self.endpoint(name) for name in shares}
                    backends = [
                        Backend(*ends[name].endpoint, Fraction(count, rule.modulus))
                        for name, count in shares.items()
                    ]
                    protocols = {end.protocol for end in ends.values()}
                case (proto, dnat) if dnat.startswith("dnat map numgen ") and rule.choices:
                    protocols = {protocol_of(proto, rule)}
                    backends = [
                        Backend(*address(outcome), Fraction(count, rule.modulus))
                        for outcome, count in Counter(kept(rule)).items()
                    ]
                case _:
                    end, protocol = translation(rule)
                    protocols, backends = {protocol}, [Backend(*end, Fraction(1))]
        balance = Balance(
            sort_backends(backends),
            min(sticky.values(), default=None),
            frozenset(end.endpoint for end in ends.values() if end.hairpin),
            masquerade,
            frozenset(protocols),
            tuple(affinity_faults(chain, ends, sticky)),
            (*self._raw(chain), *(line for end in ends.values() for line in end.raw)),
        )
        self._balances[chain] = balance
        return balance

    def external(self, chain: str) -> External:
        """Read `external-*`."""
        if chain in self._externals:
            return self._externals[chain]
        outside = inside = local_pods = None
        node = False
        masquerade = Masquerade.NEVER
        for rule in self._rules(chain):
            *tests, end = rule.statements
            from_node = tests == ["fib saddr type == local"]
            told = pods(tests[0], "==") if len(tests) == 1 else None
            target = end.removeprefix("goto ")
            balancer = end.startswith("goto ") and target.startswith(_BALANCERS)
            if outside is None and marks(end) and (from_node or not tests):
                masquerade = Masquerade.NODE if from_node else Masquerade.ALWAYS
            elif outside is None and balancer and (from_node or told):
                if inside not in (None, target):
                    raise UnrecognisedRule(rule.raw, f"other insiders are sent to {inside}", where=chain)
                inside, local_pods, node = target, told or local_pods, node or from_node
            elif outside is None and balancer and not tests:
                outside = target
            else:
                raise UnrecognisedRule(rule.raw, "it is not known there", where=chain)
        result = External(outside, inside, masquerade, local_pods, self._raw(chain), node)
        self._externals[chain] = result
        return result

    def firewall(self, chain: str) -> Firewall:
        """Read `firewall-*`: whatever comes from elsewhere is dropped, whether or not there are endpoints."""
        sources: list[str] = []
        for rule in self._rules(chain):
            match rule.statements:
                case (test, "drop") if test.startswith("ip saddr != "):
                    sources += test.removeprefix("ip saddr != ").strip("{} ").split(", ")
                case _:
                    raise UnrecognisedRule(rule.raw, "it is not known there", where=chain)
        return Firewall(tuple(sorted(sources)), None, self._raw(chain))
