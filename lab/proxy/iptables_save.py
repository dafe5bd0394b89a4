"""Text of `iptables-save` into tables, chains and rules; it knows nothing of Kubernetes.

A rule is split into options in the order printed, each with its negation; which of them are allowed
is the caller's to say (`Rule.take` and `Rule.done`), so that none is ever overlooked.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from lab.proxy.model import UnreadableDump, UnrecognisedRule

# A quoted argument, with iptables' backslash escapes, or a bare word.
_WORD = re.compile(r'"((?:[^"\\]|\\.)*)"|(\S+)')
_ESCAPE = re.compile(r"\\(.)")
_COUNTERS = re.compile(r"^\[\d+:\d+\] ")

# Options without a value; every other option takes exactly one word.
_FLAGS = frozenset({"--rcheck", "--reap", "--set", "--rsource", "--random-fully", "--physdev-is-in"})
# Options whose values are two words.
_PAIRS = frozenset({"--match-set"})


class Rule:
    """One rule of a chain, to be taken apart option by option.

    >>> rule = Rule("-A KUBE-SVC-X -s 10.0.0.1/32 -j KUBE-MARK-MASQ")
    >>> rule.take("-s"), rule.take("-j"), rule.take("-p")
    ('10.0.0.1/32', 'KUBE-MARK-MASQ', None)
    >>> rule.done()
    """

    __slots__ = ("_left", "chain", "raw")

    def __init__(self, raw: str) -> None:
        self.raw = raw
        words = [
            _ESCAPE.sub(r"\1", match[1]) if match[1] is not None else match[2]
            for match in _WORD.finditer(_COUNTERS.sub("", raw))
        ]
        if len(words) < 2 or words[0] != "-A":
            raise UnrecognisedRule(raw, "it does not begin with -A CHAIN")
        self.chain = words[1]
        self._left = self._options(words[2:])

    def _options(self, words: list[str]) -> dict[tuple[str, str], str]:
        options: dict[tuple[str, str], str] = {}
        negated = ""
        index = 0
        while index < len(words):
            word = words[index]
            index += 1
            if word == "!":
                negated = "!"
                continue
            if not word.startswith("-"):
                raise UnrecognisedRule(self.raw, f"{word!r} belongs to no option")
            width = 0 if word in _FLAGS else 2 if word in _PAIRS else 1
            value = " ".join(words[index : index + width])
            index += width
            # Several matches may be loaded; which ones shows in their own options.
            key = (negated, f"-m {value}" if word == "-m" else word)
            if key in options and word != "-m":
                raise UnrecognisedRule(self.raw, f"{word} is given twice")
            options[key] = value
            negated = ""
        return options

    def take(self, option: str, *, negated: bool = False) -> str | None:
        """An option's value, `""` for a flag, None if absent. The option then counts as understood."""
        return self._left.pop(("!" if negated else "", option), None)

    def has(self, option: str, *, negated: bool = False) -> bool:
        """Whether the rule still holds this option; it is not taken."""
        return ("!" if negated else "", option) in self._left

    def must(self, option: str) -> str:
        """`take`, of an option that a rule of this kind always has."""
        value = self.take(option)
        if value is None:
            raise UnrecognisedRule(self.raw, f"it has no {option}")
        return value

    def done(self) -> None:
        """Every piece must have been understood by now; loaded matches show in their options."""
        left = [
            f"{negated} {option} {value}".strip()
            for (negated, option), value in self._left.items()
            if option not in _KNOWN_MATCHES
        ]
        if left:
            raise UnrecognisedRule(self.raw, f"{', '.join(left)!r} is not known there")


_MATCHES = "addrtype comment conntrack ipvs mark nfacct physdev recent sctp set statistic tcp udp"
_KNOWN_MATCHES = frozenset(f"-m {name}" for name in _MATCHES.split())


@dataclass(slots=True)
class Table:
    """One table: its chains in the order dumped, each with the text of its rules."""

    chains: dict[str, list[str]] = field(default_factory=dict)

    def rules(self, chain: str) -> list[Rule]:
        """A chain's rules taken apart; none if there is no such chain.

        Raises:
            UnrecognisedRule: a line is not made of options and their values.
        """
        return [Rule(raw) for raw in self.chains.get(chain, ())]

    def jumps(self, chain: str, target: str) -> bool:
        """Whether a chain, perhaps not ours, has a rule that jumps or goes to the target."""
        ends = (f" -j {target}", f" -g {target}")
        return any(raw.endswith(ends) for raw in self.chains.get(chain, ()))


def parse(text: str) -> dict[str, Table]:
    """A whole `iptables-save`, with or without counters, as name of table to table.

    Raises:
        UnreadableDump: a line is neither table, chain, rule, comment nor COMMIT.
    """
    tables: dict[str, Table] = {}
    table: Table | None = None
    for line in text.splitlines():
        if not line or line.startswith("#"):
            continue
        if line.startswith("*"):
            table = tables.setdefault(line[1:].strip(), Table())
        elif table is None:
            raise UnreadableDump("iptables-save: a line outside any table", details=[line])
        elif line.startswith(":"):
            table.chains.setdefault(line[1:].split(" ", 1)[0], [])
        elif line.startswith(("-A ", "[")):
            chain = _COUNTERS.sub("", line).split(" ", 2)[1]
            table.chains.setdefault(chain, []).append(line)
        elif line.strip() == "COMMIT":
            table = None
        else:
            raise UnreadableDump("iptables-save: a line of no known kind", details=[line])
    return tables
