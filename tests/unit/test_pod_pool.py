"""Pods that one file of the suites leaves to the next. A fake API; real pods of lightkube's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import httpx2
import pytest
from lightkube.codecs import from_dict
from lightkube.core.exceptions import ApiError
from lightkube.resources.core_v1 import Pod


@dataclass
class FakeCluster:
    """A namespace's pods."""

    pods: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def api(self) -> FakeCluster:
        return self

    def add(self, name: str, labels: dict[str, str], *, node: str = "node01") -> None:
        ready = {"type": "Ready", "status": "True"}
        container = {"name": "mytest", "image": "i", "imageID": "i", "ready": True, "restartCount": 0}
        self.pods[name] = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "labels": dict(labels)},
            "spec": {"nodeName": node, "containers": []},
            "status": {"conditions": [ready], "containerStatuses": [container]},
        }

    def list(self, kind: type[Pod], *, namespace: str) -> list[Any]:
        assert (kind, namespace) == (Pod, "there")
        return [from_dict(pod) for pod in self.pods.values()]

    def patch(self, _: type[Pod], name: str, change: dict[str, Any], **__: object) -> None:
        if name not in self.pods:
            request = httpx2.Request("PATCH", "https://there")
            raise ApiError(request, httpx2.Response(404, request=request, json={"code": 404}))
        labels = self.pods[name]["metadata"]["labels"] | change["metadata"]["labels"]
        self.pods[name]["metadata"]["labels"] = {k: v for k, v in labels.items() if v is not None}

    def remove(self, _: type[Pod], name: str, *, namespace: str) -> None:
        assert namespace == "there"
        del self.pods[name]


@pytest.fixture
def pods(of_suites: Callable[[str], ModuleType]) -> ModuleType:
    return of_suites("pod_pool")


@pytest.fixture
def cluster() -> FakeCluster:
    return FakeCluster()


@pytest.fixture
def pool(pods: ModuleType, cluster: FakeCluster) -> Any:
    return pods.PodPool(cluster, "there")


def kind(pods: ModuleType, **differs: Any) -> Any:
    plain = {"drain": 3, "grace": 0, "port": 8080, "port_name": "web"}
    return pods.Kind(**plain | differs)


def leave(pods: ModuleType, pool: Any, name: str = "a", *, node: str = "node01", **differs: Any) -> None:
    """A file makes a pod and ends."""
    pool.cluster.add(name, {"app": "web"}, node=node)
    pool.note(name, kind(pods, **differs), {"app": "web"})
    pool.give_back()


def test_a_pod_is_left_without_labels_and_taken_with_others(
    pods: ModuleType, pool: Any, cluster: FakeCluster
) -> None:
    leave(pods, pool)
    assert cluster.pods["a"]["metadata"]["labels"] == {}
    assert pool.take(kind(pods), {"app": "db"}, node=None) == "a"
    assert cluster.pods["a"]["metadata"]["labels"] == {"app": "db"}
    assert pool.take(kind(pods), {"app": "db"}, node=None) is None, "the same pod twice"


@pytest.mark.parametrize(
    ("left", "wanted", "node", "fits"),
    [
        ({}, {}, "node01", True),
        ({}, {}, "node02", False),
        ({"drain": 150, "grace": 150}, {}, None, False),
        ({"port": 3000}, {}, None, False),
        ({"port_name": "admin"}, {}, None, False),
        ({"port": 3000}, {"port": 3000}, None, True),
    ],
)
def test_a_pod_is_taken_where_it_is_what_is_wanted(
    pods: ModuleType, pool: Any, left: dict[str, Any], wanted: dict[str, Any], node: str | None, fits: bool
) -> None:
    leave(pods, pool, **left)
    assert pool.take(kind(pods, **wanted), {}, node=node) == ("a" if fits else None)


@pytest.mark.parametrize(
    "harm",
    [
        {"conditions": [{"type": "Ready", "status": "False"}]},
        {
            "containerStatuses": [
                {"name": "mytest", "image": "i", "imageID": "i", "ready": True, "restartCount": 1}
            ]
        },
    ],
)
def test_a_pod_that_is_not_as_it_was_made_goes(
    pods: ModuleType, pool: Any, cluster: FakeCluster, harm: dict[str, Any]
) -> None:
    cluster.add("a", {})
    pool.note("a", kind(pods), {})
    cluster.pods["a"]["status"] |= harm
    pool.give_back()
    assert cluster.pods == {}
    assert pool.take(kind(pods), {}, node=None) is None


def test_others_pods_go_and_those_on_their_way_out_are_let(
    pods: ModuleType, pool: Any, cluster: FakeCluster
) -> None:
    """What a Deployment of the file's made, what the file keeps for itself, and what it deleted."""
    cluster.add("own", {})
    cluster.add("leaving", {})
    cluster.pods["leaving"]["metadata"]["deletionTimestamp"] = "2026-11-29T12:00:00Z"
    pool.note("leaving", kind(pods), {})
    pool.give_back()
    assert list(cluster.pods) == ["leaving"]
    assert pool.take(kind(pods), {}, node=None) is None


def test_a_pod_that_is_gone_meanwhile_is_not_taken(pods: ModuleType, pool: Any, cluster: FakeCluster) -> None:
    leave(pods, pool)
    del cluster.pods["a"]
    assert pool.take(kind(pods), {"app": "db"}, node=None) is None
