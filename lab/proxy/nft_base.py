"""The chains of table kube-proxy that every Service shares: hooks, dispatch, masquerading, refusals.

Upstream: `setupNFTables` in `pkg/proxy/nftables/proxier.go`, 1.34 and 1.37.
"""

from __future__ import annotations

from collections.abc import Callable

from lab.proxy.model import Masquerade, UnrecognisedRule
from lab.proxy.nft_json import NftRule, NftTable
from lab.proxy.nft_phrases import MARK_CHAIN, marks, pods

REJECT_CHAIN = "reject-chain"

_NEW = "ct state == new"
_HOOKS = {
    "nat-prerouting": ("prerouting", ("jump services",)),
    "nat-output": ("output", ("jump services",)),
    "nat-postrouting": ("postrouting", ("jump masquerading",)),
    "filter-prerouting-pre-dnat": ("prerouting", ("jump firewall-check",)),
    "filter-output-pre-dnat": ("output", ("jump firewall-check",)),
    "filter-input": ("input", ("jump nodeport-endpoints-check", "jump service-endpoints-check")),
    "filter-forward": ("forward", ("jump service-endpoints-check", "jump cluster-ips-check")),
    "filter-output": ("output", ("jump service-endpoints-check", "jump cluster-ips-check")),
}
"""Base chain: its hook, and the jumps it must have (filter chains: for new connections only)."""

_TUPLE = "ip daddr . l4proto . th dport"
_LOCALHOST = "127.0.0.0/8"
_HAIRPIN = "ip saddr . ip daddr . l4proto . th dport == @hairpin-connections"

_NEEDED = {
    "services": f"vmap {_TUPLE} @service-ips",
    "service-endpoints-check": f"vmap {_TUPLE} @no-endpoint-services",
    "nodeport-endpoints-check": "vmap l4proto . th dport @no-endpoint-nodeports",
    "firewall-check": f"vmap {_TUPLE} @firewall-ips",
    "cluster-ips-check": "reject",
    REJECT_CHAIN: "reject",
}
"""How a rule that a chain must have ends. Without the one for NodePorts those are missed one by one."""


class Base:
    """The shared chains, taken apart; what is missing of them is in `faults`."""

    def __init__(self, table: NftTable, addresses: tuple[str, ...]) -> None:
        self._table = table
        self._addresses = addresses
        self.faults: list[str] = []
        self.cluster_ips = frozenset(key for (key,) in self._keys("cluster-ips"))
        self.node_port_addresses: tuple[str, ...] = ()
        self.rejecting_loopback: tuple[str, ...] = ()
        """Loopback addresses on which NodePorts are refused by rule (an option since 1.37)."""
        self.cluster_masquerade = Masquerade.NEVER
        self.local_pods: str | None = None
        self.dropped_cidrs: tuple[str, ...] = ()
        self._hooks()
        readers: dict[str, Callable[[NftRule], None]] = {
            "services": self._services,
            "masquerading": self._masquerading,
            "cluster-ips-check": self._cluster_ips_check,
            "nodeport-endpoints-check": self._node_port_check,
            "service-endpoints-check": lambda rule: self._only(rule, f"vmap {_TUPLE} @no-endpoint-services"),
            "firewall-check": lambda rule: self._only(rule, f"vmap {_TUPLE} @firewall-ips"),
            REJECT_CHAIN: lambda rule: self._only(rule, "reject"),
            MARK_CHAIN: self._mark,
        }
        for name, chain in table.chains.items():
            if name in _HOOKS or "/" in name:
                continue
            for rule in chain.rules:
                if name.startswith("localhost-nodeport-reject-"):
                    self._only(rule, "reject")
                elif name in readers:
                    readers[name](rule)
                else:
                    self._unknown(rule)
        self._needed()

    def _keys(self, name: str) -> list[tuple[str, ...]]:
        return [element.key for element in self._table.elements.get(name, [])]

    def _unknown(self, rule: NftRule) -> None:
        raise UnrecognisedRule(rule.raw, "it is not known there", where=rule.chain)

    def _only(self, rule: NftRule, end: str) -> None:
        tests = [test for test in rule.statements[:-1] if not test.startswith("counter ")]
        if tests or rule.statements[-1] != end:
            self._unknown(rule)

    def _mark(self, rule: NftRule) -> None:
        if len(rule.statements) != 1 or not marks(rule.statements[0]):
            self._unknown(rule)

    def _needed(self) -> None:
        """Without these rules maps and sets have no effect, whatever is in them."""
        for name, end in _NEEDED.items():
            chain = self._table.chains.get(name)
            if chain is None or not any(rule.statements[-1].startswith(end) for rule in chain.rules):
                self.faults.append(f"chain {name} lacks: {end}")
        masquerading = self._table.chains.get("masquerading")
        rules = [rule.statements for rule in masquerading.rules] if masquerading else []
        if "hairpin-connections" in self._table.elements and not any(_HAIRPIN in rule for rule in rules):
            self.faults.append(f"chain masquerading lacks: {_HAIRPIN}")
        if not any(rule[-1].startswith("masquerade") and _HAIRPIN not in rule for rule in rules):
            self.faults.append("chain masquerading does not masquerade marked connections")

    def _hooks(self) -> None:
        for name, (hook, jumps) in _HOOKS.items():
            chain = self._table.chains.get(name)
            if chain is None or chain.hook != hook:
                self.faults.append(f"base chain {name} is not at hook {hook}")
                continue
            wanted = [(jump,) if name.startswith("nat-") else (_NEW, jump) for jump in jumps]
            for rule in chain.rules:
                if rule.statements not in wanted:
                    self._unknown(rule)
            found = [rule.statements for rule in chain.rules]
            self.faults += [f"chain {name} lacks: {' '.join(rule)}" for rule in wanted if rule not in found]

    def _services(self, rule: NftRule) -> None:
        match rule.statements:
            case ("ip daddr == @cluster-ips", *test, mark) if marks(mark) and len(test) <= 1:
                self.local_pods = pods(test[0], "!=") if test else None
                if test and self.local_pods is None:
                    self._unknown(rule)
                self.cluster_masquerade = Masquerade.OUTSIDE if test else Masquerade.ALWAYS
            case (dispatch,) if dispatch == f"vmap {_TUPLE} @service-ips":
                pass
            case (*tests, "vmap l4proto . th dport @service-nodeports"):
                self.node_port_addresses = self._where(rule, tests)
            case _:
                self._unknown(rule)

    def _where(self, rule: NftRule, tests: list[str]) -> tuple[str, ...]:
        """The node's addresses that pass the tests of NodePorts."""
        if tests == ["ip daddr == @nodeport-ips"]:
            return tuple(key for (key,) in self._keys("nodeport-ips"))
        if f"ip daddr != {_LOCALHOST}" not in tests or set(tests) - {
            f"ip daddr != {_LOCALHOST}",
            "fib daddr type == local",
        }:
            self._unknown(rule)
        return tuple(ip for ip in self._addresses if not ip.startswith("127."))

    def _node_port_check(self, rule: NftRule) -> None:
        match rule.statements:
            case (*tests, "vmap l4proto . th dport @no-endpoint-nodeports"):
                self._where(rule, tests)
            case (test, "vmap l4proto . th dport @localhost-nodeport-reject-ports") if (
                test == f"ip daddr == {_LOCALHOST}"
            ):
                self.rejecting_loopback = tuple(ip for ip in self._addresses if ip.startswith("127."))
            case _:
                self._unknown(rule)

    def _cluster_ips_check(self, rule: NftRule) -> None:
        match rule.statements:
            case ("ip daddr == @cluster-ips", "reject"):
                pass
            case (test, "drop") if test.startswith("ip daddr == "):
                cidrs = test.removeprefix("ip daddr == ").strip("{} ").split(", ")
                self.dropped_cidrs = tuple(sorted(cidrs))
            case _:
                self._unknown(rule)

    def _masquerading(self, rule: NftRule) -> None:
        match [statement.partition(" ")[0] for statement in rule.statements]:
            case ["mark", "mark", "masquerade"]:  # marked, so unmark and masquerade
                pass
            case ["mark", "return"] | ["mark"] | ["masquerade"]:  # the same in three rules, before 1.36
                pass
            case ["ct", "ip", "masquerade"] if rule.statements[:2] == (
                "ct status == dnat",
                _HAIRPIN,
            ):
                pass
            case _:
                self._unknown(rule)
