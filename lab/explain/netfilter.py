"""iptables' chains walked rule by rule, as `iptables-save -c` prints them: iptables mode's, and ipvs mode's.

Every option of a rule on the way must be understood; one that is not is an UnrecognisedRule with its text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction

from lab.explain import words
from lab.explain.walk import Flow, Record, Stream, join, part, rest
from lab.proxy.ipset_save import IpSet
from lab.proxy.iptables_chains import probability
from lab.proxy.iptables_owned import SERVICE_PREFIXES
from lab.proxy.iptables_save import Rule, Table
from lab.proxy.model import Endpoint, Refusal, UnrecognisedRule

_COUNTERS = re.compile(r"^\[(\d+):\d+\] ")
_TARGET = re.compile(r" -[jg] (\S+)")
_OURS = "KUBE-"
# kubelet's, and what lets connections on that have been decided already.
_NOT_FOLLOWED = frozenset({"KUBE-FIREWALL", "KUBE-FORWARD"})
_NUMBERS = {"6": "TCP", "17": "UDP", "132": "SCTP"}

Test = Callable[[Stream], bool]
ONE = Fraction(1)


@dataclass(slots=True)
class _Meaning:
    """One rule, understood."""

    target: str
    destination: list[Test]
    """About where connections go: a rule that fails these for everyone is about something else."""
    source: list[Test]
    marked: bool | None
    conditions: list[str]
    chance: Fraction
    action: str
    end: Endpoint | None
    remembered: bool


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
        """Walk what kube-proxy has at base chains that different streams pass; returns what goes on from there.

        Args:
            table: the table's name.
            flows: what passes each base chain. Chains that jump to the same are walked once for all of them.
        """
        flows = {base: flow for base, flow in flows.items() if flow}
        jumps = {base: self._jumps(table, base) for base in flows}
        self._accepted = {}
        together = len({tuple(target for target, _ in found) for found in jumps.values()}) == 1
        groups = [tuple(flows)] if together else [(base,) for base in flows]
        left: Flow = {}
        for bases in groups:
            flow = join(*(flows[base] for base in bases))
            for rules in zip(*(jumps[base] for base in bases), strict=True):
                flow = self._jump(table, dict(zip(bases, rules, strict=True)), flow)
            left = join(left, flow)
        return join(left, self._accepted)

    def _jumps(self, table: str, base: str) -> list[tuple[str, str]]:
        """kube-proxy's rules in a base chain: target and text."""
        found = []
        for raw in self._tables.get(table, Table()).chains.get(base, ()):
            target = _TARGET.search(raw)
            if target and target[1].startswith(_OURS) and target[1] not in _NOT_FOLLOWED:
                found.append((target[1], raw))
        return found

    def _jump(self, table: str, rules: Mapping[str, tuple[str, str]], flow: Flow) -> Flow:
        """One jump out of base chains; it is shown only if something in the chain is about these streams."""
        before = len(self._record.steps)
        (target,) = {target for target, _ in rules.values()}
        for _, raw in rules.values():
            rule = Rule(raw)
            meaning = self._meaning(rule)
            here = {
                one: flow[one]
                for one in flow
                if len(rules) == 1 or one.client.local is (rule.chain == "OUTPUT")
            }
            self._note(table, rule, meaning, here, 0)
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
            flow, returned = self._rule(table, rule, flow, returned, depth)
        return join(flow, returned)

    def _rule(self, table: str, rule: Rule, flow: Flow, returned: Flow, depth: int) -> tuple[Flow, Flow]:
        """One rule; returns what goes on to the next one, and what has left the chain."""
        meaning = self._meaning(rule)
        if not any(all(test(stream) for test in meaning.destination) for stream in flow):
            return flow, returned
        shares = {
            stream: meaning.chance
            if not meaning.remembered
            and all(test(stream) for test in (*meaning.destination, *meaning.source))
            and meaning.marked in (None, amount.marked)
            else Fraction(0)
            for stream, amount in flow.items()
        }
        taken = part(flow, shares)
        self._note(table, rule, meaning, taken, depth)
        if not taken:
            return flow, returned
        left = rest(flow, taken)
        target = meaning.target
        if target == "KUBE-MARK-MASQ":
            return join(left, self._mark(table, taken)), returned
        if target.startswith(_OURS):
            shown = len(self._record.steps)
            back = self._chain(table, target, taken, depth + 1)
            if len(self._record.steps) == shown and not target.startswith(SERVICE_PREFIXES):
                self._record.steps.pop()  # nothing there is about these streams
            return join(left, back), returned
        if target == "RETURN":
            return left, join(returned, taken)
        if target in ("MARK", ""):
            return flow, returned
        if target == "DNAT" and meaning.end is not None:
            self._record.arrive(taken, meaning.end)
        elif target in ("REJECT", "DROP"):
            self._record.refuse(taken, Refusal(target.lower()))
        elif target == "ACCEPT":
            self._accepted = join(self._accepted, taken)
        elif target == "MASQUERADE":
            self._record.masqueraded |= {(stream.client, (stream.to.ip, stream.to.port)) for stream in taken}
        return left, returned

    def _mark(self, table: str, taken: Flow) -> Flow:
        """KUBE-MARK-MASQ is one rule that everything else only refers to: it is not shown each time."""
        marks = any(" -j MARK " in raw for raw in self._tables[table].chains.get("KUBE-MARK-MASQ", ()))
        return {stream: amount._replace(marked=amount.marked or marks) for stream, amount in taken.items()}

    def _note(self, table: str, rule: Rule, meaning: _Meaning, taken: Flow, depth: int) -> None:
        counted = _COUNTERS.match(rule.raw)
        self._record.step(
            f"{table} {rule.chain}",
            depth,
            _COUNTERS.sub("", rule.raw),
            words.sentence(meaning.conditions, meaning.action),
            taken,
            packets=int(counted[1]) if counted else None,
            end=meaning.end,
            leads=meaning.target if meaning.target.startswith(_OURS) else None,
        )

    def _meaning(self, rule: Rule) -> _Meaning:
        comment = rule.take("--comment") or ""
        target = rule.take("-j") or rule.take("-g") or ""
        found = _Meaning(target, [], [], None, [], ONE, "", None, False)
        self._source(rule, found)
        self._destination(rule, found)
        self._state(rule, found)
        found.action = self._action(rule, found, comment)
        rule.done()
        return found

    def _source(self, rule: Rule, found: _Meaning) -> None:
        for negated in (False, True):
            way = rule.take("-s", negated=negated)
            interface = rule.take("-i", negated=negated)
            way = way if interface is None else f"iifname {interface.replace('+', '*')}"
            if way is not None:
                found.source.append(lambda stream, way=way, no=negated: stream.client.is_pod(way) is not no)  # type: ignore[misc]
                single = way.endswith("/32") and not negated
                told = (
                    f"from {way.removesuffix('/32')} itself" if single else words.pods(way, yes=not negated)
                )
                if (
                    found.target == "RETURN"
                    or found.target.startswith("KUBE-")
                    and rule.chain.startswith("KUBE-FW-")
                ):
                    told = f"from {way}"
                found.conditions.append(told)
            kind = rule.take("--src-type", negated=negated)
            if kind is not None:
                found.source.append(lambda stream, no=negated: stream.client.local is not no)  # type: ignore[misc]
                found.conditions.append(words.NODE if not negated else "from elsewhere")

    def _destination(self, rule: Rule, found: _Meaning) -> None:
        ip, port, protocol = rule.take("-d"), rule.take("--dport"), rule.take("-p")
        away = rule.take("-d", negated=True)
        dst_type = rule.take("--dst-type")
        if ip is not None:
            found.destination.append(lambda stream: Stream(stream.client, stream.to).to.ip in _network(ip))
        if away is not None:
            found.destination.append(lambda stream: stream.to.ip not in _network(away))
        if port is not None:
            found.destination.append(lambda stream: stream.to.port == int(port))
        if protocol is not None:
            found.destination.append(lambda stream: stream.to.protocol == protocol.upper())
        if dst_type is not None:
            found.destination.append(lambda stream: stream.to.ip in self._own)
        vaddr, vport, vproto = rule.take("--vaddr"), rule.take("--vport"), rule.take("--vproto")
        if vaddr is not None and vport is not None:
            wanted = (
                vaddr.removesuffix("/32"),
                int(vport),
                _NUMBERS.get(vproto or "", (vproto or "").upper()),
            )
            found.destination.append(lambda stream: stream.to == wanted)
            found.conditions.append(f"to {wanted[0]}:{wanted[1]}/{wanted[2]}")
        if match_set := rule.take("--match-set"):
            self._ipset(match_set, found)
        where = (ip or "").removesuffix("/32") or ("an address of this node" if dst_type else "")
        if (where or port) and found.target != "DNAT":
            found.conditions.append(
                f"to {where or 'port'}{f':{port}' if where and port else f' {port}' if port else ''}"
                f"{f'/{protocol.upper()}' if protocol and port else ''}".replace("node:", "node, port ")
            )

    def _ipset(self, text: str, found: _Meaning) -> None:
        name, _, directions = text.partition(" ")
        ipset = self._sets.get(name, IpSet(""))
        tests = found.source if "src" in directions else found.destination
        tests.append(lambda stream: _member(ipset, directions, stream))
        found.conditions.append(f"{'from and ' if 'src' in directions else ''}to what is in the set {name}")

    def _state(self, rule: Rule, found: _Meaning) -> None:
        state = rule.take("--ctstate")
        if state is not None and "NEW" not in state:
            found.source.append(lambda _stream: False)
            found.conditions.append(f"of connections that are {state.lower()}")
        if rule.take("--mode") == "random":
            found.chance = probability(rule.must("--probability"))
            found.conditions.append(words.chance(found.chance))
        if rule.take("--rcheck") is not None:
            found.remembered = True
            seconds = rule.must("--seconds")
            self._record.sticky = int(seconds)
            found.conditions.append(words.REMEMBERED.format(seconds))
            for option in ("--reap", "--rsource", "--name", "--mask"):
                rule.take(option)
        for negated in (False, True):
            if rule.take("--mark", negated=negated) is not None:
                found.marked = not negated
                found.conditions.append("if they are not marked" if negated else "if they are marked")
        rule.take("--nfacct-name")
        rule.take("--physdev-is-in", negated=True)

    def _action(self, rule: Rule, found: _Meaning, comment: str) -> str:
        target = found.target
        if target == "DNAT":
            ip, _, port = rule.must("--to-destination").rpartition(":")
            found.end = (ip, int(port))
            noted = ""
            if rule.take("--set") is not None:
                noted = f" and {words.NOTE}"
                for option in ("--rsource", "--name", "--mask"):
                    rule.take(option)
            return f"send them to {ip}:{port}{noted}"
        if target == "MARK":
            rule.take("--set-xmark")
            return words.UNMARK
        if target == "MASQUERADE":
            rule.take("--random-fully")
            return words.MASQUERADE
        if target in ("REJECT", "DROP"):
            rule.take("--reject-with")
            _, _, why = comment.partition(" ")
            because = f" ({why})" if why in ("has no endpoints", "has no local endpoints") else ""
            return f"{words.REJECT if target == 'REJECT' else words.DROP}{because}"
        if target in ("RETURN", "ACCEPT"):
            return words.RETURN if target == "RETURN" else words.ACCEPT
        if target.startswith(_OURS):
            return words.to_chain(target)
        if not target:
            return "nothing: it only counts"
        raise UnrecognisedRule(rule.raw, f"target {target} is not known there", where=rule.chain)


class _Within:
    """Addresses of a network, or one address."""

    def __init__(self, cidr: str) -> None:
        self._cidr = cidr

    def __contains__(self, ip: str) -> bool:
        from ipaddress import ip_address, ip_network  # noqa: PLC0415

        return ip_address(ip) in ip_network(self._cidr, strict=False)


def _network(cidr: str) -> _Within:
    return _Within(cidr)


def _member(ipset: IpSet, directions: str, stream: Stream) -> bool:
    """Whether the set has the stream's address, port and source, in the order of the directions."""
    ways = directions.split(",")
    port = f"{stream.to.protocol.lower()}:{stream.to.port}"
    addresses = [stream.client.address if way == "src" else stream.to.ip for way in ways]
    if ipset.type == "bitmap:port":
        return (str(stream.to.port),) in ipset.entries
    if ipset.type.startswith("hash:ip,port,net"):
        return any(
            entry[:2] == (addresses[0], port) and stream.client.within(entry[2]) for entry in ipset.entries
        )
    wanted = (addresses[0], port, *addresses[2:]) if len(ways) > 1 else (addresses[0],)
    return wanted in ipset.entries
