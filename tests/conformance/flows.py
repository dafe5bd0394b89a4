"""A UDP flow: one address and port of a client that never stops sending.

As long as it sends, its conntrack entry lives, and with it the way that was chosen once: only kube-proxy,
which deletes entries that lead nowhere, brings the flow to another pod.
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from .probing import Client

LIFE = 300
"""Seconds after which a flow ends by itself, whatever became of its test."""
SAID = re.compile(r"Running on: (\S+)")


def _source() -> int:
    """A port that no kernel chooses by itself, and hardly anyone else."""
    return 10_000 + secrets.randbelow(10_000)


@dataclass(frozen=True)
class Flow:
    """Sends a datagram five times a second from one port, and keeps what comes back beside the client."""

    client: Client
    target: str
    """`address:port`."""
    source: int = field(default_factory=_source)

    @property
    def file(self) -> str:
        """Where the client keeps the answers, a line each."""
        return f"/tmp/flow-{self.source}"

    def __enter__(self) -> Self:
        """Begin to send; it goes on when this returns, until the context ends."""
        # SENDTO is a socket without a peer, which no refusal ends. One that the node's own rules refuse
        # (sendto: EPERM, to the node's own processes alone) ends all the same, and the same port goes on.
        asked = f"[ -e {self.file} ]"
        once = (
            f"while {asked} && sleep 0.2; do echo; done | "
            f"socat - UDP4-SENDTO:{self.target},sourceport={self.source}"
        )
        loop = f"while {asked} && sleep 0.1; do {once}; done"
        self.client.run(
            f"timeout {LIFE} sh -c {loop!r} > {self.file} 2> {self.file}.errors < /dev/null &", timeout=20
        )
        return self

    def __exit__(self, *_: object) -> None:
        """Send no more."""
        self.client.run(f"rm -f {self.file} {self.file}.errors", timeout=20)

    def answers(self) -> list[str]:
        """Who answered, in order; an answer that names no pod as it is."""
        said = self.client.run(f"cat {self.file}", timeout=20).splitlines()
        return [found[1] if (found := SAID.search(line)) else line for line in said]


def last_answers(flows: Mapping[str, Flow], wanted: Mapping[str, str], *, timeout: float) -> dict[str, str]:
    """Who answered each flow last: once all are as wanted, else what is found when the time is over."""
    end = time.monotonic() + timeout
    while True:
        late = time.monotonic() >= end
        seen = {name: (flow.answers() or ["nobody"])[-1] for name, flow in flows.items()}
        if seen == dict(wanted) or late:
            return seen
        time.sleep(0.5)
