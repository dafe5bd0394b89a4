"""One iptables rule of kube-proxy's understood: whom it is about, what it does, and that in words.

Every option must be known; one that is not is an UnrecognisedRule with the rule's text.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial
from ipaddress import ip_address, ip_network

from lab.explain import words
from lab.explain.walk import Amount, Stream
from lab.proxy.ipset_save import IpSet
from lab.proxy.iptables_chains import MARK_MASQ, probability
from lab.proxy.iptables_owned import NUMBERS
from lab.proxy.iptables_save import Rule
from lab.proxy.model import Endpoint, UnrecognisedRule

OURS = "KUBE-"
Test = Callable[[Stream], bool]

_WHY = frozenset({"has no endpoints", "has no local endpoints"})
_ACTIONS = {
    "MARK": words.UNMARK,
    "MASQUERADE": words.MASQUERADE,
    "REJECT": words.REJECT,
    "DROP": words.DROP,
    "RETURN": words.RETURN,
    "ACCEPT": words.ACCEPT,
    "": "nothing: it only counts",
}


@dataclass(slots=True)
class Meaning:
    """What a rule means.

    Attributes:
        target: the chain or action; empty if there is none.
        destination: tests of where connections go; a rule that fails these is about something else.
        source: tests of who connects.
        marked: whether they must be marked for masquerading; None: either.
        chance: the share of those that pass, at random.
        sticky: seconds, if it is only for clients that are remembered.
        end: the endpoint it translates to.
        conditions: the tests in words.
        action: the action in words.
    """

    target: str
    destination: list[Test] = field(default_factory=list)
    source: list[Test] = field(default_factory=list)
    marked: bool | None = None
    chance: Fraction = Fraction(1)
    sticky: int | None = None
    end: Endpoint | None = None
    conditions: list[str] = field(default_factory=list)
    action: str = ""

    def about(self, stream: Stream) -> bool:
        """Whether it is about where the stream goes."""
        return all(test(stream) for test in self.destination)

    def takes(self, stream: Stream, amount: Amount) -> Fraction:
        """How much of a new client's stream it takes."""
        if self.sticky is not None or self.marked not in (None, amount.marked):
            return Fraction(0)
        passes = self.about(stream) and all(test(stream) for test in self.source)
        return self.chance if passes else Fraction(0)


def understand(rule: Rule, own: frozenset[str], sets: Mapping[str, IpSet]) -> Meaning:
    """Take a rule apart.

    Args:
        rule: which is used up.
        own: the node's addresses.
        sets: ipsets by name.

    Raises:
        UnrecognisedRule: it has a piece that is not known.
    """
    comment = rule.take("--comment") or ""
    found = Meaning(rule.take("-j") or rule.take("-g") or "")
    _source(rule, found)
    _destination(rule, found, own)
    if text := rule.take("--match-set"):
        _ipset(text, found, sets)
    _state(rule, found)
    _action(rule, found, comment.partition(" ")[2])
    rule.done()
    return found


def _source(rule: Rule, found: Meaning) -> None:
    for yes in (True, False):
        cidr, interface = rule.take("-s", negated=not yes), rule.take("-i", negated=not yes)
        way = cidr if interface is None else f"iifname {interface.replace('+', '*')}"
        if way is not None:
            found.source.append(_told(way, yes=yes))
            found.conditions.append(_who(rule.chain, found.target, way, yes=yes))
        if rule.take("--src-type", negated=not yes) is not None:
            found.source.append(_local(yes=yes))
            found.conditions.append(words.NODE if yes else "from elsewhere")


def _told(way: str, *, yes: bool) -> Test:
    return lambda stream: stream.client.is_pod(way) is yes


def _local(*, yes: bool) -> Test:
    return lambda stream: stream.client.local is yes


def _who(chain: str, target: str, way: str, *, yes: bool) -> str:
    """The source in words: an endpoint itself, one of the sources let through, or pods and others."""
    if yes and target == MARK_MASQ and way.endswith("/32"):
        return f"from {way.removesuffix('/32')} itself"
    if target == "RETURN" or chain.startswith("KUBE-FW-"):
        return f"from {way}"
    return words.pods(way, yes=yes)


def _destination(rule: Rule, found: Meaning, own: frozenset[str]) -> None:
    tests = found.destination
    if (away := rule.take("-d", negated=True)) is not None:
        tests.append(_to(away, yes=False))
    if (ip := rule.take("-d")) is not None:
        tests.append(_to(ip, yes=True))
    if (port := rule.take("--dport")) is not None:
        tests.append(partial(_at, int(port)))
    if (protocol := rule.take("-p")) is not None:
        tests.append(partial(_by, protocol.upper()))
    if (kind := rule.take("--dst-type")) is not None:
        tests.append(lambda stream: stream.to.ip in own)
    if (vaddr := rule.take("--vaddr")) is not None:
        number = rule.must("--vproto")
        ip, port, protocol = vaddr, rule.must("--vport"), NUMBERS.get(number, number)
        wanted = (ip.removesuffix("/32"), int(port), protocol)
        tests.append(lambda stream: stream.to == wanted)
    if found.target == "DNAT":
        return
    known = protocol.upper() if protocol else ""
    if ip is not None and port is not None:
        found.conditions.append(f"to {ip.removesuffix('/32')}:{port}/{known}")
    elif port is not None:
        found.conditions.append(f"to port {port}/{known}" + (" of this node" if kind else ""))
    elif ip is not None or kind is not None:
        found.conditions.append(f"to {ip or 'an address of this node'}")


def _to(cidr: str, *, yes: bool) -> Test:
    network = ip_network(cidr, strict=False)
    return lambda stream: (ip_address(stream.to.ip) in network) is yes


def _at(port: int, stream: Stream) -> bool:
    return stream.to.port == port


def _by(protocol: str, stream: Stream) -> bool:
    return stream.to.protocol == protocol


def _ipset(text: str, found: Meaning, sets: Mapping[str, IpSet]) -> None:
    name, _, directions = text.partition(" ")
    ipset = sets.get(name, IpSet(""))
    by_source = "src" in directions
    tests = found.source if by_source else found.destination
    tests.append(lambda stream: _member(ipset, directions, stream))
    found.conditions.append(f"{'from and to' if by_source else 'to'} what is in the set {name}")


def _member(ipset: IpSet, directions: str, stream: Stream) -> bool:
    """Whether the set has the stream's addresses and port, in the order of the directions."""
    ways = directions.split(",")
    if ipset.type == "bitmap:port":
        return (str(stream.to.port),) in ipset.entries
    port = f"{stream.to.protocol.lower()}:{stream.to.port}"
    addresses = [stream.client.address if way == "src" else stream.to.ip for way in ways]
    if ipset.type == "hash:ip,port,net":
        return any(
            entry[:2] == (addresses[0], port) and stream.client.within(entry[2]) for entry in ipset.entries
        )
    return ((addresses[0], port, *addresses[2:]) if len(ways) > 1 else (addresses[0],)) in ipset.entries


def _state(rule: Rule, found: Meaning) -> None:
    state = rule.take("--ctstate")
    if state is not None and "NEW" not in state:
        found.source.append(lambda _stream: False)
        found.conditions.append(f"of connections that are {state.lower()}")
    if rule.take("--mode") == "random":
        found.chance = probability(rule.must("--probability"))
        found.conditions.append(words.chance(found.chance))
    if rule.take("--rcheck") is not None:
        found.sticky = int(rule.must("--seconds"))
        found.conditions.append(words.REMEMBERED.format(found.sticky))
        _recent(rule)
    for yes in (True, False):
        if rule.take("--mark", negated=not yes) is not None:
            found.marked = yes
            found.conditions.append("if they are marked" if yes else "if they are not marked")
    rule.take("--nfacct-name")
    rule.take("--physdev-is-in", negated=True)


def _recent(rule: Rule) -> None:
    for option in ("--reap", "--rsource", "--name", "--mask"):
        rule.take(option)


def _action(rule: Rule, found: Meaning, why: str) -> None:
    for option in ("--set-xmark", "--random-fully", "--reject-with"):
        rule.take(option)
    if found.target == "DNAT":
        ip, _, port = rule.must("--to-destination").rpartition(":")
        found.end = (ip, int(port))
        found.action = f"send them to {ip}:{port}"
        if rule.take("--set") is not None:
            found.action += f" and {words.NOTE}"
            _recent(rule)
    elif found.target.startswith(OURS):
        found.action = words.to_chain(found.target)
    elif found.target in _ACTIONS:
        found.action = _ACTIONS[found.target] + (f" ({why})" if why in _WHY else "")
    else:
        raise UnrecognisedRule(rule.raw, f"target {found.target} is not known there", where=rule.chain)
