"""A few connections from a node to its ClusterIPs, and where its connection tracking says they went."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lab.proxy.model import Endpoint, Frontend

CONNECT = 3
"""Seconds for all of one address's connections."""
AT_ONCE = 16

# The connection is opened and closed, nothing is sent: whatever serves there takes no harm.
_TRY = r"""
try() {
  out=$(timeout %(connect)d bash -c 'for n in $(seq $3); do
    exec 3<>"/dev/tcp/$1/$2" || exit 1; exec 3>&-; echo made; done' _ "$1" "$2" "$3" 2>&1)
  code=$?
  why=$(printf '%%s\n' "$out" | grep -v '^made$' | head -n 1)
  [ $code = 124 ] && why="no answer within %(connect)d s"
  printf 'tried %%s %%s %%s %%s\n' "$1" "$2" "$(printf '%%s\n' "$out" | grep -c '^made$')" "${why##*: }"
}
tracked() {
  { conntrack -L -p tcp 2>/dev/null || cat /proc/net/nf_conntrack; } | grep -E %(addresses)s | sed "s/^/$1 /"
}
"""
_PAIR = re.compile(r"(src|dst|sport|dport)=(\S+)")


@dataclass(frozen=True)
class Tracked:
    """A connection as tracked: by whom, to which address, and which endpoint answers for that."""

    client: Endpoint
    frontend: Frontend
    endpoint: Endpoint


@dataclass(frozen=True)
class Tried:
    """What became of the connections to one address: how many were made, and why the next was not."""

    made: int
    why: str


@dataclass(frozen=True)
class Connections:
    """What one node's script said."""

    tried: dict[Frontend, Tried]
    new: tuple[Tracked, ...]
    """Connections that were not there before, by whomever on this node."""


def script(targets: Sequence[tuple[Frontend, int]]) -> str:
    """The script that makes so many connections to each address, several addresses at once."""
    addresses = "|".join(sorted({rf" dst={re.escape(front.ip)} " for front, _ in targets}))
    lines = [_TRY % {"connect": CONNECT, "addresses": shlex.quote(addresses)}, "tracked before"]
    for place in range(0, len(targets), AT_ONCE):
        lines += [
            f"try {front.ip} {front.port} {count} &" for front, count in targets[place : place + AT_ONCE]
        ]
        lines.append("wait")
    lines.append("tracked after")
    return "bash <<'CONNECT'\n" + "\n".join(lines) + "\ntrue\nCONNECT\n"


def read(text: str) -> Connections:
    """What the script said."""
    tried: dict[Frontend, Tried] = {}
    before: set[tuple[Endpoint, Frontend]] = set()
    after: list[Tracked] = []
    for line in text.splitlines():
        what, _, rest = line.partition(" ")
        if what == "tried":
            ip, port, made, why = rest.split(" ", 3)
            tried[Frontend(ip, int(port), "TCP")] = Tried(int(made), why)
        elif what in ("before", "after") and (found := _tracked(rest)):
            if what == "before":
                before.add((found.client, found.frontend))
            else:
                after.append(found)
    return Connections(tried, tuple(one for one in after if (one.client, one.frontend) not in before))


def _tracked(line: str) -> Tracked | None:
    """One line of `conntrack -L`: the tuple of the client's packets, then that of the answers."""
    pairs: list[tuple[str, str]] = _PAIR.findall(line)
    if len(pairs) != 8:
        return None
    there, back = dict(pairs[:4]), dict(pairs[4:])
    return Tracked(
        (there["src"], int(there["sport"])),
        Frontend(there["dst"], int(there["dport"]), "TCP"),
        (back["src"], int(back["sport"])),
    )


def chosen(connections: Iterable[Tracked]) -> dict[Frontend, dict[Endpoint, int]]:
    """How many went to each endpoint, by address."""
    found: dict[Frontend, dict[Endpoint, int]] = {}
    for one in connections:
        of_front = found.setdefault(one.frontend, {})
        of_front[one.endpoint] = of_front.get(one.endpoint, 0) + 1
    return found
