"""Holds two `NodeRules` against each other: what the slices ask for, and what is programmed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, collapse_addresses, ip_network, summarize_address_range
from ipaddress import ip_address as _ip

from lab.proxy.model import Backend, Endpoint, Frontend, Kind, NodeRules, Refusal, ServiceRules

_RAW_SHOWN = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One disagreement, with all that is needed to look at it."""

    node: str
    mode: str
    service: str | None
    """`namespace/name:port name`; None if it is about the node as a whole, or the Service is not known."""
    frontend: Frontend | None
    layer: str
    """What differs: `frontend`, `backends`, `masquerade`, `faults`, …: a field of the model."""
    expected: str
    seen: str
    raw: tuple[str, ...] = ()
    """The rules as dumped; empty where there are none."""

    @property
    def about(self) -> tuple[object, ...]:
        """Which thing of which node differs, be it in this way or in another."""
        whole = (self.layer, self.expected, self.seen) if self.frontend is None else ()
        return (self.node, self.frontend, *whole)

    def __str__(self) -> str:
        where = " ".join(str(part) for part in (self.service, self.frontend) if part)
        text = f"{self.node} {self.mode}: {where or 'node'} {self.layer}"
        text += f": expected {self.expected}, seen {self.seen}"
        if not self.raw:
            return text
        more = f" (and {len(self.raw) - _RAW_SHOWN} more rules)" if len(self.raw) > _RAW_SHOWN else ""
        return f"{text}; in: {' | '.join(self.raw[:_RAW_SHOWN])}{more}"


def compare(expected: NodeRules, seen: NodeRules, *, node: str = "") -> list[Difference]:
    """Every disagreement, none left out: first those of the node as a whole, then by address.

    Args:
        expected: from `lab.proxy.slices.expect`.
        seen: from a reader.
        node: the node's name, for the messages.
    """
    found = [
        Difference(
            node=node, mode=seen.mode, service=None, frontend=None, layer=layer, expected=wanted, seen=given
        )
        for layer, wanted, given in _of_node(expected, seen)
    ]
    for front in sorted({*expected.services, *seen.services}, key=_order):
        want, have = expected.services.get(front), seen.services.get(front)
        found += [
            Difference(
                node=node,
                mode=seen.mode,
                service=(want.service if want else None) or (have.service if have else None),
                frontend=front,
                layer=layer,
                expected=wanted,
                seen=given,
                raw=have.raw if have else (),
            )
            for layer, wanted, given in _of_frontend(front, want, have)
        ]
    return found


def _order(front: Frontend) -> tuple[IPv4Address, int, str]:
    return IPv4Address(front.ip), front.port, front.protocol


def _of_node(expected: NodeRules, seen: NodeRules) -> Iterator[tuple[str, str, str]]:
    if expected.mode != seen.mode:
        yield "mode", expected.mode, seen.mode
    for fault in seen.faults:
        yield "faults", "none", fault
    for layer in ("cluster_ips", "bound_addresses", "health_check_ports"):
        want, have = getattr(expected, layer), getattr(seen, layer)
        for one in sorted(want ^ have):
            yield (layer, str(one), "not there") if one in want else (layer, "not there", str(one))
    if expected.dropped_cidrs and expected.dropped_cidrs != seen.dropped_cidrs:
        yield "dropped_cidrs", _listed(expected.dropped_cidrs), _listed(seen.dropped_cidrs)
    # Only rules about ClusterIPs or policy Local tell how pods are known.
    if seen.local_pods is not None and expected.local_pods != seen.local_pods:
        yield "local_pods", str(expected.local_pods), seen.local_pods


def _of_frontend(
    front: Frontend, want: ServiceRules | None, have: ServiceRules | None
) -> Iterator[tuple[str, str, str]]:
    if want is None and have is not None:
        # Refusing NodePorts on localhost by rule (nftables mode can) is no more than not serving them.
        if not (front.ip.startswith("127.") and have.refusal is Refusal.REJECT and not have.backends):
            yield "frontend", "nothing there", _short(have)
    elif have is None and want is not None:
        yield "frontend", _short(want), "nothing there"
    elif have is not None and want is not None:
        yield from _of_rules(want, have)


def _of_rules(want: ServiceRules, have: ServiceRules) -> Iterator[tuple[str, str, str]]:
    if _kind(want) != _kind(have):
        yield "kind", want.kind, have.kind
    if have.service is not None and want.service != have.service:
        yield "service", str(want.service), have.service
    if want.backends != have.backends:
        yield "backends", _backends(want.backends), _backends(have.backends)
    if want.inside_backends != have.inside_backends:
        yield "inside_backends", _backends(want.inside_backends), _backends(have.inside_backends)
    if None not in (want.policy, have.policy) and want.policy != have.policy:
        yield "policy", str(want.policy), str(have.policy)
    for layer in ("scheduler", "masquerade", "affinity", "refusal", "blocks_node"):
        if getattr(want, layer) != getattr(have, layer):
            yield layer, str(getattr(want, layer)), str(getattr(have, layer))
    if not want.hairpin <= have.hairpin:
        lacking = want.hairpin - have.hairpin
        yield (
            "hairpin",
            _ends(want.hairpin),
            f"none for {_ends(lacking)}",
        )
    if _networks(want.source_ranges) != _networks(have.source_ranges):
        yield "source_ranges", str(want.source_ranges), str(have.source_ranges)


def _kind(rules: ServiceRules) -> Kind:
    """External and load balancer IPs are not always told apart by rules, so neither are they here."""
    return Kind.EXTERNAL if rules.kind is Kind.LOADBALANCER else rules.kind


def _networks(ranges: Iterable[str] | None) -> list[IPv4Network] | None:
    """Ranges in one spelling: overlapping and adjacent ones joined."""
    if ranges is None:
        return None
    networks: list[IPv4Network] = []
    for text in ranges:
        first, _, last = text.partition("-")
        if last:
            joined = summarize_address_range(_ip(first), _ip(last))
            networks += (net for net in joined if isinstance(net, IPv4Network))
        else:
            network = ip_network(text, strict=False)
            if isinstance(network, IPv4Network):
                networks.append(network)
    return list(collapse_addresses(networks))


def _backends(backends: tuple[Backend, ...] | None) -> str:
    return "none apart" if backends is None else _listed(map(str, backends))


def _ends(endpoints: Iterable[Endpoint]) -> str:
    return _listed(f"{ip}:{port}" for ip, port in endpoints)


def _short(rules: ServiceRules) -> str:
    return (
        f"{rules.kind} to {_backends(rules.backends)}" if rules.backends else f"{rules.kind}, {rules.refusal}"
    )


def _listed(words: Iterable[str]) -> str:
    return ", ".join(sorted(words)) or "none"
