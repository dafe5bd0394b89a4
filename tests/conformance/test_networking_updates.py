"""A Service's endpoints and node ports change: the new ones answer, over HTTP and UDP, the old no more."""

from __future__ import annotations

import random
import secrets

import pytest
from lightkube import ApiError

from .cluster import Cluster
from .declared import declared
from .everywhere import Everywhere, target
from .net import PROTOCOLS, both
from .places import Places
from .rulebook import Rulebook
from .stage import Published, Stage

NODE_PORTS = range(30000, 32768)


@pytest.mark.behaviour("update-endpoints-http", "update-endpoints-udp")
def test_endpoints_are_updated(stage: Stage, everywhere: Everywhere) -> None:
    """A pod that goes is never chosen again, one that comes is; over both protocols, from everywhere."""
    labels = {"app": f"update-{secrets.token_hex(3)}"}
    gone, stays = stage.pod(labels), stage.pod(labels)
    service = stage.service(labels, ports=both()[:2])
    stage.settle(service, [gone, stays], port="http")
    for protocol in PROTOCOLS:
        everywhere.assert_answered(service.ports[protocol], {gone, stays})
    stage.delete(gone)
    stage.settle(service, [stays], port="http")
    for protocol in PROTOCOLS:
        everywhere.assert_answered(service.ports[protocol], {stays})
    comes = stage.pod(labels)
    stage.settle(service, [stays, comes], port="http")
    for protocol in PROTOCOLS:
        everywhere.assert_answered(service.ports[protocol], {stays, comes})


@pytest.mark.behaviour("update-nodeport-http", "update-nodeport-udp")
def test_node_port_is_updated(
    stage: Stage, everywhere: Everywhere, cluster: Cluster, rulebook: Rulebook, mode: str, version: str
) -> None:
    """Another number answers on every node, and the one before no more."""
    labels = {"app": f"update-{secrets.token_hex(3)}"}
    pod = stage.pod(labels)
    service = stage.service(labels, ports=both()[:2], type="NodePort")
    stage.settle(service, [pod], port="http")
    before = service.ports
    for protocol in PROTOCOLS:
        everywhere.assert_answered(before[protocol], {pod})
    renumber(service, cluster)
    after = service.ports
    changed = {name: (before[name].node_port, after[name].node_port) for name in PROTOCOLS}
    assert all(old != new for old, new in changed.values()), changed
    rulebook.settle()
    for protocol in PROTOCOLS:
        everywhere.assert_answered(after[protocol], {pod})
    anywhere = Places((*everywhere.inside.values(), *everywhere.outside.values()))
    http, udp = ([target(before[name], address) for address in everywhere.addresses] for name in PROTOCOLS)
    anywhere.miss(*http, kind=declared("nodeport-closed", mode=mode, version=version).expected)
    anywhere.miss_by_udp(*udp)


def renumber(service: Published, cluster: Cluster) -> None:
    """Give a Service's ports `http` and `udp` other NodePorts, which nobody has."""
    taken = {port.node_port for port in cluster.ports()}
    for _ in range(5):
        numbers = random.sample([number for number in NODE_PORTS if number not in taken], 2)
        ports = [{**port, "nodePort": number} for port, number in zip(both()[:2], numbers, strict=True)]
        try:
            service.patch(ports=ports)
        except ApiError as error:
            if "already allocated" not in str(error):
                raise
        else:
            return
    raise AssertionError("five times others took the NodePorts that were free a moment before")
