"""Text of `ipset save` into sets and their entries."""

from __future__ import annotations

from dataclasses import dataclass, field

from lab.proxy.model import UnreadableDump


@dataclass(slots=True)
class IpSet:
    """One set: its type (`hash:ip,port`, `bitmap:port`, …) and its entries, each split at the commas."""

    type: str
    entries: set[tuple[str, ...]] = field(default_factory=set)

    def ports(self) -> set[int]:
        """The entries of a set of ports."""
        return {int(port) for (port,) in self.entries}


def parse(text: str) -> dict[str, IpSet]:
    """Every set by name; options of a set (sizes, timeouts) are not kept.

    Raises:
        UnreadableDump: a line neither creates a set nor adds to one made before.
    """
    sets: dict[str, IpSet] = {}
    for line in text.splitlines():
        match line.split():
            case []:
                continue
            case ["create", name, kind, *_]:
                sets[name] = IpSet(kind)
            case ["add", name, entry, *_] if name in sets:
                sets[name].entries.add(tuple(entry.split(",")))
            case _:
                raise UnreadableDump("ipset save: a line of no known kind", details=[line])
    return sets
