"""Ports of the nodes themselves, for pods with a hostPort or in their node's network."""

from __future__ import annotations

import itertools
import random

from .worker import share

RANGE = share(range(20_000, 28_000))
"""Outside of the NodePorts' range and of what kernels choose from."""
NUMBERS = itertools.cycle(random.sample(RANGE, k=len(RANGE)))


def draw() -> int:
    """One that no other test of this run has, on any node.

    Where to begin is left to chance: the pods of a run that was killed may still have theirs.
    """
    return next(NUMBERS)
