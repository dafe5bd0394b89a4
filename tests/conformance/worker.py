"""One of the processes of pytest-xdist that run tests beside each other, and what it may draw from."""

from __future__ import annotations

import os

WORKERS = 8
"""How many may run beside each other and never draw the same."""
WORKER = int((os.environ.get("PYTEST_XDIST_WORKER") or "gw0").removeprefix("gw")) % WORKERS


def share(numbers: range) -> range:
    """Every eighth of these numbers: this process's own."""
    return numbers[WORKER::WORKERS]
