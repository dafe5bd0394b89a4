"""The one bounded wait of the suites."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TypeVar

from lab.verify.reconcile import SETTLE

T = TypeVar("T")

PROGRAMMED: Mapping[str, float] = SETTLE
"""Seconds that every kube-proxy gets to program a change before it counts as missing, by its mode.

After them no backend that is gone may be chosen any more. Its minSyncPeriod is 1 s; one sync by
iptables-restore or nft takes up to a second on a user-mode node, and 3 s where the host is busy. In ipvs mode
one sync runs some fifty programs (`ipset` creates and lists each of its sets): 2 s on an idle user-mode
node, up to 16 s where two tests at a time keep two processors busy; and a change may wait for the sync
before it.
"""


def wait_until(
    what: str,
    check: Callable[[], T],
    *,
    timeout: float,
    interval: float = 0.3,
    evidence: Callable[[], str] | None = None,
) -> T:
    """Call `check` until it holds, and return what it returned.

    A check does not hold yet when it returns something falsy or raises AssertionError; any other error ends
    the wait at once. The check is made once more after the deadline: a slow reading is no fault.

    >>> wait_until("three ready endpoints", lambda: len(endpoints()) == 3, timeout=60)

    Args:
        what: what is waited for, as the failure shall name it.
        check: a reading that holds or not.
        timeout: seconds.
        interval: seconds between two readings; as many as a reading takes, if that is more.
        evidence: says more of what was found, once the time is over.

    Raises:
        AssertionError: the time is over; says what was waited for and the last reading.
    """
    started = time.monotonic()
    while True:
        began = time.monotonic()
        last_try = began - started >= timeout
        try:
            value = check()
        except AssertionError as fault:
            last: object = fault
        else:
            if value:
                return value
            last = repr(value)
        if last_try:
            more = f"\n{evidence()}" if evidence else ""
            raise AssertionError(f"waited {timeout:g} s for {what}; last seen: {last}{more}")
        time.sleep(max(interval, time.monotonic() - began))
