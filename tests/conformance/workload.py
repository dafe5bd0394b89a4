"""mytest: the Deployment everybody meets first, and copies of it that a test may change."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lightkube import ApiError
from lightkube.resources.apps_v1 import Deployment
from lightkube.resources.core_v1 import Pod, Service

from .cluster import Cluster, Endpoint
from .waiting import wait_until

TARGET_PORT = 8080
REPLICAS = 3
POD_START = 120.0
"""Seconds a pod may take to start or to go on a busy two-core host; a wait, not a promise."""


def probes(port: int = TARGET_PORT, path: str = "/healthz") -> dict[str, Any]:
    """A container's probes, by default of mytest's: Ready within a second of its first answer.

    Then it is asked no more often than the kubelet does by itself: to ask twenty pods every second takes a
    tenth of a processor.
    """
    asked = {"httpGet": {"path": path, "port": port}}
    return {"startupProbe": {**asked, "periodSeconds": 1, "failureThreshold": 60}, "readinessProbe": asked}


def service_manifest(
    namespace: str,
    name: str,
    selector: Mapping[str, str],
    *,
    node_port: int | None = None,
    kind: str = "ClusterIP",
) -> dict[str, Any]:
    """A Service like mytest-svc: port 80 → 8080, by default of type ClusterIP."""
    port: dict[str, Any] = {"port": 80, "targetPort": TARGET_PORT, "protocol": "TCP"}
    if node_port is not None:
        port["nodePort"] = node_port
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"type": kind, "selector": dict(selector), "ports": [port]},
    }


def mytest_pod(cluster: Cluster, name: str) -> dict[str, Any]:
    """The spec of a pod of mytest with the label `run=NAME`: the lab's own, or one like it."""
    with contextlib.suppress(ApiError):
        original = cluster.deployment("default", "mytest").spec
        if not cluster.images and original is not None:
            return dict(original.template.to_dict()["spec"])
    return {
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": "kubernetes.io/hostname",
                "nodeTaintsPolicy": "Honor",
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": {"run": name}},
            }
        ],
        "terminationGracePeriodSeconds": 1,
        "containers": [
            {
                **cluster.container("mytest"),
                "ports": [{"containerPort": TARGET_PORT}],
                **probes(),
            }
        ],
    }


@dataclass(frozen=True)
class Workload:
    """A Deployment of mytest pods, selected by `run=NAME`."""

    cluster: Cluster
    namespace: str
    name: str

    @property
    def selector(self) -> dict[str, str]:
        """The pods' label."""
        return {"run": self.name}

    @classmethod
    def copy_of_mytest(cls, cluster: Cluster, namespace: str, name: str) -> Workload:
        """A Deployment as the lab's own mytest, in another namespace and with a label of its own."""
        manifest = {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {
                "replicas": REPLICAS,
                "selector": {"matchLabels": {"run": name}},
                "template": {"metadata": {"labels": {"run": name}}, "spec": mytest_pod(cluster, name)},
            },
        }
        cluster.apply(manifest)
        return cls(cluster, namespace, name)

    def pods(self) -> dict[str, str]:
        """Pod name to pod IP."""
        return self.cluster.pods(self.namespace, self.selector)

    def set_replicas(self, number: int) -> None:
        """Ask for so many pods; `settle` waits for them."""
        self.cluster.api.patch(
            Deployment, self.name, {"spec": {"replicas": number}}, namespace=self.namespace
        )

    def delete_pod(self, name: str) -> None:
        """Delete one pod, as `kubectl delete pod` does."""
        self.cluster.api.delete(Pod, name, namespace=self.namespace)

    def settle(self, number: int = REPLICAS, *, service: str | None = None) -> set[Endpoint]:
        """Wait until there are exactly so many pods and, with a service, that they are its endpoints.

        Returns:
            The pods' IPs with their port.
        """

        def settled() -> set[Endpoint] | bool:
            pods = self.pods()
            expected = {(ip, TARGET_PORT) for ip in pods.values()}
            assert len(pods) == number, f"pods {sorted(pods)}"
            assert all(pods.values()), f"a pod without an IP: {pods}"
            for pod in pods:
                assert self.cluster.is_ready(self.namespace, pod), f"{pod} is not Ready"
            if service is not None:
                seen = self.cluster.endpoints(self.namespace, service)
                assert seen == expected, f"endpoints {sorted(seen)}, pods {pods}"
            return expected or True

        what = f"{number} ready pods of {self.namespace}/{self.name}" + (
            f" as endpoints of {service}" if service else ""
        )
        found = wait_until(what, settled, timeout=POD_START)
        return found if isinstance(found, set) else set()


@dataclass(frozen=True)
class Exposed:
    """A workload with a Service of its own."""

    workload: Workload
    name: str

    @property
    def namespace(self) -> str:
        """The namespace of both."""
        return self.workload.namespace

    @property
    def cluster(self) -> Cluster:
        """The API."""
        return self.workload.cluster

    def get(self) -> Service:
        """The Service as the API has it."""
        return self.cluster.api.get(Service, self.name, namespace=self.namespace)

    def manifest(self, *, kind: str = "ClusterIP", node_port: int | None = None) -> dict[str, Any]:
        """The manifest a user would apply."""
        return service_manifest(
            self.namespace, self.name, self.workload.selector, kind=kind, node_port=node_port
        )

    def expose(self, *, kind: str = "ClusterIP", node_port: int | None = None) -> Exposed:
        """Create the Service, or give it another type."""
        self.cluster.apply(self.manifest(kind=kind, node_port=node_port))
        return self

    @property
    def cluster_ip(self) -> str:
        """Its ClusterIP."""
        spec = self.get().spec
        assert spec is not None
        assert spec.clusterIP
        return spec.clusterIP

    @property
    def node_port(self) -> int | None:
        """Its NodePort, None if it has none."""
        (port,) = self.cluster.ports_of(self.namespace, self.name)
        return port.node_port

    @property
    def url(self) -> str:
        """The URL of its ClusterIP."""
        return f"http://{self.cluster_ip}:80"
