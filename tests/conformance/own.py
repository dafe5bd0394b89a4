"""Fixtures: namespaces, pods and Services of a test's own, so that tests need no order."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator

import pytest
from lightkube.resources.core_v1 import Namespace, Pod, Service, ServiceAccount

from lab.reach import spaces

from .cluster import Cluster
from .rulebook import Rulebook
from .subject import OwnLab, Subject
from .waiting import wait_until
from .workload import POD_START, REPLICAS, Exposed, Workload

NewNamespace = Callable[[str], str]
"""A label to the name of a fresh namespace; all are removed at the session's end."""


@pytest.fixture(scope="session")
def new_namespace(cluster: Cluster, subject: Subject) -> Iterator[NewNamespace]:
    made: list[str] = []

    def make(label: str) -> str:
        name = f"conformance-{label}-{secrets.token_hex(3)}"
        cluster.apply(spaces.manifest(name, run=subject.run, until=subject.until))
        made.append(name)
        # No pod is admitted before; after a restart of the API server that takes its controller a while.
        wait_until(
            f"the namespace {name} to have its default service account",
            lambda: list(cluster.api.list(ServiceAccount, namespace=name)),
            timeout=POD_START,
        )
        return name

    yield make
    for name in made:
        cluster.remove(Namespace, name)
        # At once: the namespace controller looks again only every so often while a pod is on its way out.
        for pod in cluster.api.list(Pod, namespace=name):
            cluster.remove(Pod, (pod.metadata and pod.metadata.name) or "", namespace=name)
    wait_until(
        f"the namespaces {made} to be gone",
        lambda: not cluster.namespaces() & set(made),
        timeout=2 * POD_START,
    )


@pytest.fixture(scope="module")
def namespace(request: pytest.FixtureRequest, cluster: Cluster, new_namespace: NewNamespace) -> Iterator[str]:
    """A fresh namespace for this file, removed at its end."""
    name = new_namespace(request.module.__name__.rpartition("test_")[2].replace("_", "-"))
    yield name
    cluster.remove(Namespace, name)


@pytest.fixture(scope="session")
def copy_of_mytest(cluster: Cluster, new_namespace: NewNamespace) -> Workload:
    """A copy of mytest for this session: pods are dear, so files take it in turn."""
    return Workload.copy_of_mytest(cluster, new_namespace("mytest"), "mytest")


@pytest.fixture(scope="module")
def workload(copy_of_mytest: Workload) -> Iterator[Workload]:
    """The copy of mytest for this file; a test that changes it need not put it back: `mytest` does.

    What Services the file puts in front of it go with the file.
    """
    copy_of_mytest.set_replicas(REPLICAS)
    yield copy_of_mytest
    copy_of_mytest.cluster.api.deletecollection(Service, namespace=copy_of_mytest.namespace)


@pytest.fixture
def mytest(cluster: Cluster, workload: Workload) -> Iterator[Exposed]:
    """Three ready copies of mytest, and a ClusterIP Service of this test's own in front of them."""
    workload.set_replicas(REPLICAS)
    service = Exposed(workload, f"mytest-{secrets.token_hex(3)}").expose()
    workload.settle(service=service.name)
    yield service
    cluster.remove(Service, service.name, namespace=workload.namespace)


@pytest.fixture(scope="session")
def default_mytest(
    request: pytest.FixtureRequest, subject: Subject, cluster: Cluster, new_namespace: NewNamespace
) -> Exposed:
    """mytest and mytest-svc as the lab brought them up, else this session's own: to read, never to change."""
    if isinstance(subject, OwnLab):
        return Exposed(Workload(cluster, "default", "mytest"), "mytest-svc")
    workload = Workload.copy_of_mytest(cluster, new_namespace("mytest"), "mytest")
    service = Exposed(workload, "mytest-svc").expose()
    workload.settle(service=service.name)
    rulebook: Rulebook = request.getfixturevalue("rulebook")
    rulebook.settle()  # a lab's own has long been programmed
    return service


def start_pod(cluster: Cluster, namespace: str, image: str) -> tuple[str, str]:
    """Start a pod that sleeps, from an image the lab ships; returns (namespace, name) once it is Ready."""
    name = f"{image}-{secrets.token_hex(3)}"
    cluster.apply(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "namespace": namespace, "labels": {"run": name}},
            "spec": {
                "terminationGracePeriodSeconds": 0,
                "containers": [{**cluster.container(image), "command": ["sleep", "86400"]}],
            },
        }
    )
    wait_until(
        f"the pod {namespace}/{name} to be Ready",
        lambda: cluster.is_ready(namespace, name),
        timeout=POD_START,
        evidence=lambda: cluster.story(namespace, name),
    )
    return namespace, name
