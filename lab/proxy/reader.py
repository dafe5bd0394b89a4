"""What every rule reader offers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

from lab.proxy.commands import COMMANDS
from lab.proxy.model import NodeRules, UnreadableDump


class Reader(ABC):
    """Reads one proxy mode's rules from text; it never runs anything."""

    mode: ClassVar[str]
    needs: ClassVar[tuple[str, ...]]
    """Names of the dumps it reads, out of `lab.proxy.COMMANDS`."""

    @property
    def commands(self) -> dict[str, tuple[str, ...]]:
        """Name to argv of what to run, as root, on the node."""
        return {name: COMMANDS[name] for name in self.needs}

    def read(self, outputs: Mapping[str, str]) -> NodeRules:
        """The node's rules from what the commands printed, by name; more outputs than needed do no harm.

        Raises:
            UnrecognisedRule: a rule of kube-proxy's has a piece that is not known.
            UnreadableDump: an output is missing or is not such a dump.
        """
        missing = [name for name in self.needs if name not in outputs]
        if missing:
            raise UnreadableDump(f"The {self.mode} reader lacks the output of: {', '.join(missing)}")
        return self.parse(outputs)

    @abstractmethod
    def parse(self, outputs: Mapping[str, str]) -> NodeRules:
        """`read`, once all that is needed is there."""
