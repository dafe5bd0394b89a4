"""Output as a lesson shows it, held against what a command really printed.

A placeholder stands for what differs from lab to lab. `<pod-1>` is the same pod wherever a lesson shows it,
and never the same as `<pod-2>`; `<any-pod>` is any pod; `<80..120>` is a number of that range. `...` is any
text within a line and, alone on a line, any lines. Runs of blanks count as one: a table's columns move with
their contents. All else must be there to the letter.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from lab.errors import InputError

#: What each kind of placeholder may stand for.
KINDS: Mapping[str, str] = {
    "pod": r"[a-z0-9]+(?:-[a-z0-9]+)*-[a-z0-9]{5,10}-[a-z0-9]{5}",
    "pod-ip": r"10\.244\.\d{1,3}\.\d{1,3}",
    "cluster-ip": r"10\.(?:9[6-9]|10\d|11[01])\.\d{1,3}\.\d{1,3}",
    "node": r"master|node\d\d",
    "hash": r"[A-Z0-9]{8,16}",
    "port": r"\d{1,5}",
    "age": r"\d+(?:\.\d+)?(?:ms|s|m|h|d)(?:\d+[smh])?",
    "number": r"\d+(?:\.\d+)?",
}
#: Kinds that have another value each time they are shown.
VARYING = frozenset({"age", "number"})
#: What kubectl itself writes between angle brackets.
LITERAL = frozenset({"none", "unset", "pending", "nil", "unknown"})
TOKEN = re.compile(
    r"<(?P<name>[a-z][-a-z0-9]*)>|<(?P<low>\d+)\.\.(?P<high>\d+)>|(?P<dots>\.\.\.)|(?P<blank>[ \t]+)"
)
COMMAND_TOKEN = re.compile(r"<(?P<name>[a-z][-a-z0-9]*)>")


@dataclass(frozen=True)
class Mismatch:
    """An output that is not as shown; `lines` is a diff, `-` shown and `+` seen."""

    lines: tuple[str, ...]


def kind_of(name: str) -> tuple[str, bool]:
    """A placeholder's kind, and whether it stands for one value throughout a lesson.

    >>> kind_of("pod-1"), kind_of("any-pod-ip")
    (('pod', True), ('pod-ip', False))

    Raises:
        InputError: there is no such kind.
    """
    kind = re.sub(r"-\d+$", "", name.removeprefix("any-"))
    if kind not in KINDS:
        raise InputError(
            f"<{name}> is no placeholder.",
            details=[f"kinds: {', '.join(KINDS)}"],
            fix="lab/lessons/pattern.py",
        )
    return kind, not name.startswith("any-") and kind not in VARYING


def names_in(text: str) -> Iterator[str]:
    """Every placeholder of a shown output or a command, in order."""
    for token in COMMAND_TOKEN.finditer(text):
        if token["name"] not in LITERAL:
            yield token["name"]


class Bindings:
    """What the placeholders of one lesson stand for, learnt from one output after another."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}

    def fill(self, command: str) -> str:
        """A command with its placeholders filled in, as the student does by hand.

        Raises:
            InputError: one of them was not shown before.
        """

        def value(token: re.Match[str]) -> str:
            name = token["name"]
            if name in LITERAL:
                return token[0]
            if name not in self.values:
                raise InputError(f"No output before this command shows <{name}>.", details=[command])
            return self.values[name]

        return COMMAND_TOKEN.sub(value, command)

    def compare(self, shown: str, seen: str) -> Mismatch | None:
        """Hold an output against the one shown; what its placeholders stand for is remembered if they agree.

        Args:
            shown: as in the lesson.
            seen: what the command printed.

        Returns:
            What differs, None where nothing does.
        """
        shown, seen = _plain(shown), _plain(seen)
        groups: dict[str, str] = {}
        ranges: dict[str, tuple[int, int]] = {}
        pattern = "".join(self._line(line, groups, ranges) for line in shown.splitlines())
        found = re.fullmatch(pattern, f"{seen}\n" if seen else "")
        if found is None:
            return Mismatch(self._difference(shown, seen))
        wrong = [
            f"{found[group]} is not from {low} to {high}"
            for group, (low, high) in ranges.items()
            if not low <= int(found[group]) <= high
        ]
        learnt = {name: found[group] for name, group in groups.items()}
        wrong += self._not_told_apart(learnt)
        if wrong:
            return Mismatch((*wrong, *self._difference(shown, seen)))
        self.values |= learnt
        return None

    def _line(self, line: str, groups: dict[str, str], ranges: dict[str, tuple[int, int]]) -> str:
        if line == "...":
            return r"(?:.*\n)*?"
        parts, end = [], 0
        for token in TOKEN.finditer(line):
            parts.append(re.escape(line[end : token.start()]))
            end = token.end()
            if token["blank"]:
                parts.append(r"[ \t]+")
            elif token["dots"]:
                parts.append(".*")
            elif token["low"]:
                group = f"range{len(ranges)}"
                ranges[group] = (int(token["low"]), int(token["high"]))
                parts.append(rf"(?P<{group}>\d+)")
            else:
                parts.append(self._placeholder(token, groups))
        return "".join([*parts, re.escape(line[end:]), r"\n"])

    def _placeholder(self, token: re.Match[str], groups: dict[str, str]) -> str:
        name = token["name"]
        if name in LITERAL:
            return re.escape(token[0])
        kind, lasting = kind_of(name)
        if not lasting:
            return f"(?:{KINDS[kind]})"
        if name in self.values:
            return re.escape(self.values[name])
        if name in groups:
            return f"(?P={groups[name]})"
        groups[name] = f"value{len(groups)}"
        return f"(?P<{groups[name]}>{KINDS[kind]})"

    def _not_told_apart(self, learnt: Mapping[str, str]) -> list[str]:
        """Names of one kind that would stand for one and the same value."""
        owner: dict[tuple[str, str], str] = {}
        wrong = []
        for name, value in {**self.values, **learnt}.items():
            other = owner.setdefault((kind_of(name)[0], value), name)
            if other != name:
                wrong.append(f"<{other}> and <{name}> are both {value}")
        return wrong

    def _difference(self, shown: str, seen: str) -> tuple[str, ...]:
        known = COMMAND_TOKEN.sub(lambda token: self.values.get(token["name"], token[0]), shown)
        lines = difflib.ndiff(known.splitlines(), seen.splitlines())
        return tuple(line.rstrip() for line in lines if not line.startswith("?"))


def _plain(text: str) -> str:
    """Without blanks at the ends of lines, and without empty lines at either end."""
    lines = [re.sub(r"[ \t]+", " ", line).strip() for line in text.replace("\r\n", "\n").splitlines()]
    return "\n".join(lines).strip("\n")
