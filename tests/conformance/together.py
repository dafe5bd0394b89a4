"""Several places that connect at once, and one failure that tells what each of them saw."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from .expectation import Unmet
from .probing import Client, Outcome

DROPPED, TOLD = 1.0, 4.0
"""Seconds that a request may take: where nobody shall answer, and any failure will do; and where it is to be
answered, or refused. A kernel refuses one peer once a second after the first six (icmp_ratelimit): it may be
the second SYN that is refused, after a second, or the third, after three."""


@dataclass(frozen=True)
class Places:
    """Clients that ask the same targets, all of them at once, each of its own in one round trip."""

    clients: tuple[Client, ...]

    def and_from(self, *more: Client) -> Places:
        """These places and others."""
        return Places((*self.clients, *more))

    def ask(
        self, targets: Sequence[str], *, count: int = 3, udp: bool = False, timeout: float = TOLD
    ) -> list[Outcome]:
        """What became of `count` requests to each target from each place."""

        def probe(client: Client) -> list[Outcome]:
            return client.probe(*targets, count=count, udp=udp, timeout=timeout)

        with ThreadPoolExecutor(max_workers=len(self.clients)) as pool:
            return [outcome for found in pool.map(probe, self.clients) for outcome in found]

    def reach(self, *targets: str, by: set[str], count: int = 3, udp: bool = False) -> list[Outcome]:
        """Every request to every target is answered, and by no other pod than these."""
        found = self.ask(targets, count=count, udp=udp)
        check_all(found, lambda outcome: outcome.assert_all_answered(by=by))
        return found

    def miss(self, *targets: str, kind: str | None = None) -> None:
        """No target answers; each fails in the one way named (`refused`), if one is."""
        found = self.ask(targets, count=1, timeout=TOLD if kind else DROPPED)
        check_all(found, lambda outcome: outcome.assert_none_answered(kind=kind))

    def miss_by_udp(self, *targets: str) -> None:
        """No target answers a datagram. Nobody sends it twice, so a refusal of it is not counted on."""
        found = self.ask(targets, count=1, udp=True, timeout=DROPPED)
        check_all(found, lambda outcome: outcome.assert_none_answered())


def check_all(outcomes: Iterable[Outcome], check: Callable[[Outcome], None]) -> None:
    """Check every outcome, and tell of all that are not as they should be."""
    faults = []
    for outcome in outcomes:
        try:
            check(outcome)
        except Unmet as fault:
            faults.append(fault)
    if faults:
        raise Unmet(
            expected="; ".join(fault.expected for fault in faults),
            seen="\n".join(["", *(fault.seen for fault in faults)]),
            asked=faults[0].asked,
        )
