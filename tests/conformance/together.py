"""The same done in several places at once, and one failure that tells what was wrong in each."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from .expectation import Unmet

K = TypeVar("K", bound=Hashable)
C = TypeVar("C")
T = TypeVar("T")


def at_once(places: Mapping[K, C], work: Callable[[C], T]) -> dict[K, T]:
    """Do the same in several places at once: place to result. A failure is raised once all have ended."""
    with ThreadPoolExecutor(max_workers=max(1, len(places))) as pool:
        pending = {place: pool.submit(work, there) for place, there in places.items()}
    return {place: future.result() for place, future in pending.items()}


def each(cases: Iterable[tuple[str, Callable[[], object]]]) -> None:
    """Check all cases, however many fail.

    Raises:
        AssertionError: the only fault as it is.
        Unmet: several; what the first of them expected, and of all what was seen, after the case's name.
    """
    faults: list[tuple[str, AssertionError]] = []
    for name, check in cases:
        try:
            check()
        except AssertionError as fault:
            faults.append((name, fault))
    if len(faults) == 1:
        raise faults[0][1]
    if faults:
        unmet = [fault for _, fault in faults if isinstance(fault, Unmet)]
        first = unmet[0].expected if unmet else faults[0][0]
        seen = [f"{name}: {fault.seen if isinstance(fault, Unmet) else fault}" for name, fault in faults]
        raise Unmet(
            expected=f"{first}, and {len(faults) - 1} more as well",
            seen="\n".join(["", *seen]),
            asked=next((fault.asked for fault in unmet if fault.asked), ()),
        )
