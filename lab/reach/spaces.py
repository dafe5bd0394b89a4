"""The namespaces that a run makes in a cluster: known by their labels, of no use after a moment they name."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

PREFIX = "kube-service-lab-"
MANAGED, MANAGER = "app.kubernetes.io/managed-by", "kube-service-lab"
RUN = "kube-service-lab.io/run"
"""The label that all namespaces of one run share."""
UNTIL = "kube-service-lab.io/until"
"""The annotation that says when the run is over for certain, whatever became of it."""
LIFE = 3600
"""Seconds after which a namespace that does not say so is taken for a left-over."""
OURS = f"{MANAGED}={MANAGER}"
"""The selector of all of them."""


def new_run() -> str:
    """A name for a run, that its first namespace may have too."""
    return f"{PREFIX}{secrets.token_hex(4)}"


def until(seconds: float) -> str:
    """The moment so many seconds from now, as `manifest` takes it."""
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat(timespec="seconds")


def manifest(name: str, *, run: str, until: str) -> dict[str, Any]:
    """A namespace that admits privileged pods.

    Args:
        name: its name.
        run: whose it is.
        until: when it may be removed by anybody.
    """
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {
            "name": name,
            "labels": {MANAGED: MANAGER, RUN: run, "pod-security.kubernetes.io/enforce": "privileged"},
            "annotations": {UNTIL: until},
        },
    }


def left_over(spaces: Iterable[Mapping[str, Any]]) -> list[str]:
    """The names of those that a killed run left, of the Namespace objects with our label."""
    now = datetime.now(UTC)
    found = []
    for meta in (space["metadata"] for space in spaces):
        said = str((meta.get("annotations") or {}).get(UNTIL))
        try:
            end = datetime.fromisoformat(said)
        except ValueError:
            end = datetime.fromisoformat(meta["creationTimestamp"]) + timedelta(seconds=LIFE)
        if now > end:
            found.append(meta["name"])
    return found
