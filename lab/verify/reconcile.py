"""EndpointSlices against the programmed rules, on every node, until both have come to rest."""

from __future__ import annotations

import gc
import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from lab.proxy.compare import Difference, compare
from lab.proxy.model import UnrecognisedRule
from lab.proxy.nft_phrases import service_name
from lab.proxy.residue import residue
from lab.reach.base import Reach
from lab.verify.view import Objects, View, look

SETTLE: Mapping[str, float] = MappingProxyType({"iptables": 20.0, "ipvs": 60.0, "nftables": 20.0})
"""Seconds that kube-proxy gets after the API's last change until a disagreement counts, by mode: its rounds
are at least 1 s apart, and each takes seconds on a slow node. The suites give it the same."""
RESTLESS = 120.0
"""Seconds after which the last disagreement counts although the API has not come to rest."""
PAUSE = 0.5

_COMMENT = re.compile(r'--comment "?([a-z0-9.-]+/[^"\s]+)')
_CHAIN = re.compile(r'"chain":"([^"]+)"')


@dataclass(frozen=True)
class Reconciled:
    """What was read last, and what of it disagrees.

    Attributes:
        rounds: how often it was read.
    """

    objects: Objects
    views: Mapping[str, View]
    differences: tuple[Difference, ...]
    rounds: int


def reconcile(reach: Reach, *, settle: float | None = None) -> Reconciled:
    """Read until slices and rules agree, or the bound is over.

    Args:
        reach: the cluster.
        settle: seconds after the API's last change until a disagreement counts; None: `SETTLE` of the mode.

    Raises:
        LabError: the API or a node does not answer, or a dump is none.
    """
    begun = changed = time.monotonic()
    known: Objects | None = None
    rounds = 0
    while True:
        objects = Objects.read(reach)
        if not objects.same_rules(known):
            known, changed = objects, time.monotonic()
        views = look(reach, objects)
        rounds += 1
        found = everywhere(views.values(), objects)
        now = time.monotonic()
        bound = max((SETTLE[view.mode] for view in views.values()), default=0) if settle is None else settle
        if not found or now - changed > bound or now - begun > RESTLESS:
            return Reconciled(objects, views, tuple(found), rounds)
        time.sleep(PAUSE)


def everywhere(views: Iterable[View], objects: Objects) -> list[Difference]:
    """What differs on any of the nodes."""
    # Millions of small objects without a cycle among them: looking for cycles takes half of the time, and
    # more of it the more there are.
    collected = gc.isenabled()
    gc.disable()
    try:
        return [difference for view in views for difference in disagreements(view, objects)]
    finally:
        if collected:
            gc.enable()


def disagreements(view: View, objects: Objects) -> list[Difference]:
    """What differs on one node; rules that nobody knows and what another mode left are among it."""
    try:
        rules = view.rules
    except UnrecognisedRule as error:
        return [_unrecognised(view, error)]
    found = compare(view.expected(objects), rules, node=view.node.name)
    for left in residue(view.mode, view.outputs):
        found.append(_of_node(view, "residue", "nothing of another mode", left))
    return found


def _unrecognised(view: View, error: UnrecognisedRule) -> Difference:
    comment, chain = _COMMENT.search(error.raw), _CHAIN.search(error.raw)
    service = comment[1] if comment else service_name(chain[1]) if chain else None
    return Difference(
        node=view.node.name,
        mode=view.mode,
        service=service,
        frontend=None,
        layer="unrecognised rule",
        expected="only rules that kube-proxy writes",
        seen=error.what,
        raw=(error.raw,),
    )


def _of_node(view: View, layer: str, expected: str, seen: str) -> Difference:
    return Difference(
        node=view.node.name,
        mode=view.mode,
        service=None,
        frontend=None,
        layer=layer,
        expected=expected,
        seen=seen,
    )
