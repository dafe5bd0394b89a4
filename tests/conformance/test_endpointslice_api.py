"""The API of EndpointSlices.

Upstream: `test/e2e/network/endpointslice.go`.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping

import pytest
from lightkube import ApiError
from lightkube.models.discovery_v1 import Endpoint
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.discovery_v1 import EndpointSlice

from .cluster import Cluster
from .own import NewNamespace

WATCHED = 20
"""Seconds of a watch."""


@pytest.mark.behaviour("endpointslice-api-operations")
def test_api_operations(cluster: Cluster, new_namespace: NewNamespace) -> None:
    """Create, get, list, patch, replace, delete, and a watch that tells them all; at last the collection."""
    api, label = cluster.api, {"kube-service-lab": secrets.token_hex(4)}
    namespace, elsewhere = new_namespace("slices"), new_namespace("slices")
    names = ["a", "b", "c"]
    for place in (namespace, elsewhere):
        for name in names:
            api.create(bare_slice(name, place, label))
    got = api.get(EndpointSlice, "a", namespace=namespace)
    listed = api.list(EndpointSlice, namespace=namespace, labels=dict(label))
    found = {item.metadata.name or "": item.metadata.uid for item in listed if item.metadata}
    assert sorted(found) == names
    assert got.metadata is not None
    assert got.metadata.uid == found["a"]
    everywhere = list(api.list(EndpointSlice, namespace="*", labels=dict(label)))
    assert len(everywhere) == 2 * len(names)

    patched = api.patch(
        EndpointSlice, "a", {"metadata": {"annotations": {"patched": "yes"}}}, namespace=namespace
    )
    assert patched.metadata is not None
    assert int(patched.metadata.resourceVersion or 0) > int(got.metadata.resourceVersion or 0)
    assert patched.endpoints
    (only,) = patched.endpoints
    only.addresses = ["192.0.2.99"]
    replaced = api.replace(patched)
    assert addresses(replaced) == ["192.0.2.99"]
    with pytest.raises(ApiError, match="the object has been modified"):
        api.replace(patched)
    api.delete(EndpointSlice, "a", namespace=namespace)
    assert not cluster.has(EndpointSlice, "a", namespace=namespace)

    # From before the changes: what the watch tells has happened already, and its last event ends it.
    watch = api.watch(
        EndpointSlice,
        namespace=namespace,
        labels=dict(label),
        resource_version=listed.resourceVersion,
        server_timeout=WATCHED,
    )
    told_by_watch = []
    for event, item in watch:
        assert item.metadata is not None
        told_by_watch.append((event, item.metadata.name, item.metadata.annotations, addresses(item)))
        if event == "DELETED":
            break
    notes = {"patched": "yes"}
    assert told_by_watch == [
        ("MODIFIED", "a", notes, ["192.0.2.1"]),
        ("MODIFIED", "a", notes, ["192.0.2.99"]),
        ("DELETED", "a", notes, ["192.0.2.99"]),
    ]

    api.deletecollection(EndpointSlice, namespace=namespace)
    assert not list(api.list(EndpointSlice, namespace=namespace))
    assert len(list(api.list(EndpointSlice, namespace=elsewhere))) == len(names)


def bare_slice(name: str, namespace: str, labels: Mapping[str, str]) -> EndpointSlice:
    """A slice of no Service, with an address that nobody has (RFC 5737)."""
    return EndpointSlice(
        metadata=ObjectMeta(name=name, namespace=namespace, labels=dict(labels)),
        addressType="IPv4",
        endpoints=[Endpoint(addresses=["192.0.2.1"])],
    )


def addresses(part: EndpointSlice) -> list[str]:
    """All addresses of a slice."""
    return [address for one in part.endpoints or () for address in one.addresses]
