"""The chains kube-proxy makes for one Service port in iptables mode, each turned into a value.

`KUBE-SEP-*` one endpoint, `KUBE-SVC-*` / `KUBE-SVL-*` the choice among all / local endpoints,
`KUBE-EXT-*` traffic to external destinations, `KUBE-FW-*` load balancer source ranges.
Upstream: `syncProxyRules` and `writeServiceToEndpointRules` in `pkg/proxy/iptables/proxier.go`.
"""

from __future__ import annotations

from fractions import Fraction
from functools import cached_property, lru_cache

from lab.proxy.chains import Balance, EndpointChain, External, Firewall, affinity_faults
from lab.proxy.iptables_owned import SERVICE_PREFIXES
from lab.proxy.iptables_save import Rule, Table
from lab.proxy.model import Backend, Frontend, Masquerade, UnrecognisedRule, sort_backends

MARK_MASQ = "KUBE-MARK-MASQ"

BALANCERS = ("KUBE-SVC-", "KUBE-SVL-")

# kube-proxy writes 10 decimals and the kernel keeps 31 bits, so 1/3 comes back as 0.33333333349. Fractions
# with denominators up to this are at least 1e-8 apart: rounding (below 1e-9) never turns one into another.
_MAX_ENDPOINTS = 10_000
_ROUNDING = Fraction(1, 10**9)


@lru_cache(maxsize=4096)
def probability(printed: str) -> Fraction:
    """A printed probability as the fraction that was meant, else as exactly what is printed."""
    exact = Fraction(printed)
    meant = exact.limit_denominator(_MAX_ENDPOINTS)
    return meant if abs(meant - exact) <= _ROUNDING else exact


def detector(rule: Rule, *, negated: bool) -> str | None:
    """How a rule tells this node's pods (or, negated, everything else); None if it does not ask."""
    cidr = rule.take("-s", negated=negated)
    if cidr is not None:
        return cidr
    interface = rule.take("-i", negated=negated)
    return None if interface is None else f"iifname {interface.replace('+', '*')}"


def frontend(rule: Rule) -> Frontend:
    """The address a rule is for: `-d IP/32 -p PROTOCOL --dport PORT`."""
    ip = rule.must("-d").removesuffix("/32")
    return Frontend(ip, int(rule.must("--dport")), rule.must("-p").upper())


class Chains:
    """The nat table's chains of Services; each is read once."""

    def __init__(self, nat: Table) -> None:
        self._nat = nat
        self._endpoints: dict[str, EndpointChain] = {}
        self._balances: dict[str, Balance] = {}
        self._externals: dict[str, External] = {}

    @cached_property
    def names(self) -> tuple[str, ...]:
        """All chains of Services, even those nothing jumps to any more."""
        return tuple(name for name in self._nat.chains if name.startswith(SERVICE_PREFIXES))

    def check(self) -> None:
        """Read them all, so that an unknown rule is found even in a chain nothing uses."""
        readers = {"KUBE-SEP-": self.endpoint, "KUBE-EXT-": self.external, "KUBE-FW-": self.firewall}
        for name in self.names:
            if self._nat.chains[name]:
                readers.get(name[: name.index("-", 5) + 1], self.balance)(name)

    def endpoint(self, chain: str) -> EndpointChain:
        """Read `KUBE-SEP-*`."""
        if chain in self._endpoints:
            return self._endpoints[chain]
        source, remembers, found = None, False, None
        for rule in self._nat.rules(chain):
            rule.take("--comment")
            target = rule.must("-j")
            if target == MARK_MASQ and found is None:
                source = rule.must("-s").removesuffix("/32")
            elif target == "DNAT" and found is None:
                remembers = rule.take("--set") is not None
                if remembers:
                    _recent(rule, chain)
                ip, _, port = rule.must("--to-destination").rpartition(":")
                found = (ip, int(port)), rule.must("-p").upper()
            else:
                raise UnrecognisedRule(rule.raw, f"target {target} is not known there", where=chain)
            rule.done()
        raw = tuple(self._nat.chains.get(chain, ()))
        if found is None:
            whole = "\n".join(raw) or f":{chain}"
            raise UnrecognisedRule(whole, "the chain leads to no endpoint", where=chain)
        result = EndpointChain(found[0], found[1], source == found[0][0], remembers, raw)
        self._endpoints[chain] = result
        return result

    def balance(self, chain: str) -> Balance:
        """Read `KUBE-SVC-*` or `KUBE-SVL-*`: masquerading, affinity, then the cascade of probabilities."""
        if chain in self._balances:
            return self._balances[chain]
        masquerade: dict[Frontend, tuple[Masquerade, str | None]] = {}
        sticky: dict[str, int] = {}
        chosen: list[tuple[str, Fraction]] = []
        left = Fraction(1)
        for rule in self._nat.rules(chain):
            rule.take("--comment")
            target = rule.must("-j")
            if target == MARK_MASQ and not sticky and not chosen:
                pods = detector(rule, negated=True)
                masquerade[frontend(rule)] = (Masquerade.ALWAYS if pods is None else Masquerade.OUTSIDE, pods)
            elif target.startswith("KUBE-SEP-") and rule.take("--rcheck") is not None and not chosen:
                _recent(rule, target)
                rule.take("--reap")
                sticky[target] = int(rule.must("--seconds"))
            elif target.startswith("KUBE-SEP-"):
                share = Fraction(1)
                if rule.take("--mode") == "random":
                    share = probability(rule.must("--probability"))
                chosen.append((target, left * share))
                left *= 1 - share
            else:
                raise UnrecognisedRule(rule.raw, f"target {target} is not known there", where=chain)
            rule.done()
        ends = {name: self.endpoint(name) for name, _ in chosen}
        result = Balance(
            sort_backends([Backend(*ends[name].endpoint, share) for name, share in chosen]),
            min(sticky.values(), default=None),
            frozenset(end.endpoint for end in ends.values() if end.hairpin),
            masquerade,
            frozenset(end.protocol for end in ends.values()),
            tuple(affinity_faults(chain, ends, sticky)),
            (*self._nat.chains.get(chain, ()), *(line for end in ends.values() for line in end.raw)),
        )
        self._balances[chain] = result
        return result

    def external(self, chain: str) -> External:
        """Read `KUBE-EXT-*`."""
        if chain in self._externals:
            return self._externals[chain]
        outside = inside = pods = None
        node = False
        masquerade = Masquerade.NEVER
        for rule in self._nat.rules(chain):
            rule.take("--comment")
            target = rule.must("-j")
            from_node = rule.take("--src-type") == "LOCAL"
            local = None if from_node else detector(rule, negated=False)
            if outside is None and target == MARK_MASQ and local is None:
                masquerade = Masquerade.NODE if from_node else Masquerade.ALWAYS
            elif outside is None and target.startswith(BALANCERS) and (from_node or local):
                inside, pods, node = _same(inside, target, rule), local or pods, node or from_node
            elif outside is None and target.startswith(BALANCERS):
                outside = target
            else:
                raise UnrecognisedRule(rule.raw, "it is not known there", where=chain)
            rule.done()
        raw = tuple(self._nat.chains.get(chain, ()))
        result = External(outside, inside, masquerade, pods, raw, node)
        self._externals[chain] = result
        return result

    def firewall(self, chain: str) -> Firewall:
        """Read `KUBE-FW-*`: what no rule lets through is dropped by KUBE-PROXY-FIREWALL later."""
        sources: list[str] = []
        target = None
        for rule in self._nat.rules(chain):
            rule.take("--comment")
            source = rule.take("-s")
            if source is not None:
                sources.append(source)
                target = rule.must("-j")
            rule.done()
        return Firewall(tuple(sorted(sources)), target, tuple(self._nat.chains.get(chain, ())))


def _same(known: str | None, target: str, rule: Rule) -> str:
    """All insiders must be sent to one chain."""
    if known not in (None, target):
        raise UnrecognisedRule(rule.raw, f"other insiders are sent to {known}", where=rule.chain)
    return target


def _recent(rule: Rule, chain: str) -> None:
    """The part of a `recent` match that kube-proxy always writes alike."""
    rule.take("--rsource")
    mask = rule.take("--mask")
    if rule.must("--name") != chain or mask not in (None, "255.255.255.255"):
        raise UnrecognisedRule(rule.raw, f"the list of clients should be {chain}, one entry an address")
