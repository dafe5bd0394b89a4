"""A namespace of a test's own with pods and Services as it wants them; nothing of it stays."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
from lightkube.resources.core_v1 import Namespace, Pod, Service
from lightkube.types import PatchType

from .cluster import NOBODY, Cluster, Endpoint, Port
from .own import NewNamespace
from .probing import FromPod
from .rulebook import Rulebook
from .waiting import wait_until
from .workload import POD_START, TARGET_PORT, probes

Manifest = dict[str, Any]
SERVER, CLIENT = "mytest", "client"
"""Names of a pod's containers: the one that answers, and the one with the network tools."""
HOUR = "3600"
GATE = "kube-service-lab/serves"
"""The readiness gate of a pod that shall not be Ready of its own accord."""
POD_IP = {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}
"""The pod's own address, for commands in its containers."""


@dataclass(frozen=True)
class Published:
    """A Service of a stage."""

    cluster: Cluster
    namespace: str
    name: str

    def get(self) -> Service:
        """The Service as the API has it."""
        return self.cluster.api.get(Service, self.name, namespace=self.namespace)

    def patch(self, **spec: Any) -> None:
        """Change parts of its spec, as `kubectl patch` does; a list stands for the whole list."""
        whole = {"spec": of_nobody(spec)}
        self.cluster.api.patch(
            Service, self.name, whole, namespace=self.namespace, patch_type=PatchType.MERGE
        )

    def label(self, key: str, value: str | None) -> None:
        """Set one of its labels, or take it away (None)."""
        labels = {"metadata": {"labels": {key: value}}}
        self.cluster.api.patch(
            Service, self.name, labels, namespace=self.namespace, patch_type=PatchType.MERGE
        )

    def delete(self) -> None:
        """Delete it."""
        self.cluster.remove(Service, self.name, namespace=self.namespace)

    @property
    def ports(self) -> dict[str, Port]:
        """Its ports by name; the name of an only port may be empty."""
        return {port.name: port for port in self.cluster.ports_of(self.namespace, self.name)}

    @property
    def cluster_ip(self) -> str:
        """Its ClusterIP."""
        spec = self.get().spec
        assert spec is not None
        assert spec.clusterIP
        return spec.clusterIP

    @property
    def node_port(self) -> int:
        """The NodePort of its only port."""
        (port,) = self.ports.values()
        assert port.node_port, f"{self.namespace}/{self.name} has no NodePort"
        return port.node_port

    @property
    def url(self) -> str:
        """The URL of its ClusterIP and first port."""
        port = next(iter(self.ports.values()))
        return f"http://{port.cluster_ip}:{port.number}"

    def endpoints(self, port: str = "") -> set[Endpoint]:
        """The ready endpoints of one of its ports."""
        return self.cluster.endpoints(self.namespace, self.name, port=port)


@dataclass(frozen=True)
class Stage:
    """A namespace to put pods and Services in."""

    cluster: Cluster
    namespace: str
    rulebook: Rulebook

    def pod(
        self,
        labels: Mapping[str, str],
        *,
        node: str | None = None,
        client: bool = False,
        server: bool = True,
        drain: float = 3,
        port: int = TARGET_PORT,
        port_name: str | None = None,
        ready: bool = True,
        grace: int = 0,
        command: Sequence[str] = ("sleep", HOUR),
        **spec: Any,
    ) -> str:
        """Make a pod and say its name; `wait` waits for it.

        Args:
            labels: what Services select it by.
            node: the node it shall run on; None: any.
            client: whether it has a container with the network tools (`client`), to connect from it.
            server: whether it has a container with mytest, which answers on `port` over TCP and UDP.
            drain: seconds that mytest goes on answering once the pod is told to stop.
            port: where mytest listens.
            port_name: the container port's name, for Services whose targetPort is a name.
            ready: False: the pod runs, and is not Ready until `set_ready`: it has a readiness gate.
            grace: seconds between SIGTERM and SIGKILL at most, terminationGracePeriodSeconds.
            command: what its `client` runs while nobody connects from it; its environment has `POD_IP`.
            spec: more of the pod's spec: `hostNetwork`, `hostname`, `subdomain`, `dnsConfig`…
        """
        name = f"pod-{secrets.token_hex(4)}"
        containers: list[Manifest] = []
        if server:
            # On a host's network by one address: the answer to a datagram that came to any of the host's
            # would be sent from the one nearest to the client, which did not ask there.
            address = "$(POD_IP)" if spec.get("hostNetwork") else ""
            words = [f"--listen={address}:{port}", f"--drain={drain:g}s"]
            opened = {"containerPort": port, **({"name": port_name} if port_name else {})}
            serves = {"args": words, "ports": [opened], **probes(port)}
            containers.append({**self._container(SERVER), **serves})
        if client:
            containers.append({**self._container("tools"), "name": CLIENT, "command": list(command)})
        whole: Manifest = {"terminationGracePeriodSeconds": grace, "containers": containers, **spec}
        if not ready:
            whole["readinessGates"] = [{"conditionType": GATE}]
        if node is not None:
            # Not spec.nodeName, which no admission and no scheduler looks at.
            whole["affinity"] = {"nodeAffinity": _only(node)}
            whole["tolerations"] = [{"operator": "Exists"}]
        self.apply("v1", "Pod", name, {"spec": whole}, labels=labels)
        return name

    def service(
        self,
        selector: Mapping[str, str] | None,
        *,
        name: str | None = None,
        ports: Sequence[Manifest] | None = None,
        labels: Mapping[str, str] | None = None,
        **spec: Any,
    ) -> Published:
        """Make a Service of port 80 → 8080, or with other `ports`; `spec` is the rest of its spec."""
        made = Published(self.cluster, self.namespace, name or f"svc-{secrets.token_hex(4)}")
        whole: Manifest = {"ports": list(ports or [{"port": 80, "targetPort": TARGET_PORT}]), **spec}
        if selector is not None:
            whole["selector"] = dict(selector)
        self.apply("v1", "Service", made.name, {"spec": of_nobody(whole)}, labels=labels)
        return made

    def apply(
        self, version: str, kind: str, name: str, rest: Manifest, *, labels: Mapping[str, str] | None = None
    ) -> None:
        """Create any object in this namespace, or replace it."""
        meta = {"name": name, "namespace": self.namespace, "labels": dict(labels or {})}
        self.cluster.apply({"apiVersion": version, "kind": kind, "metadata": meta, **rest})

    def wait(self, *pods: str) -> None:
        """Until these pods are Ready; the failure tells their stories."""
        for pod in pods:
            wait_until(
                f"the pod {self.namespace}/{pod} to be Ready",
                partial(self.cluster.is_ready, self.namespace, pod),
                timeout=POD_START,
                evidence=partial(self.cluster.story, self.namespace, pod),
            )

    def set_ready(self, pod: str, ready: bool = True) -> None:
        """Open or close the gate (KEP-580) of a pod made with `ready=False`, as a controller does."""
        status = {"conditions": [{"type": GATE, "status": str(ready)}]}
        self.cluster.api.patch(Pod.Status, pod, {"status": status}, namespace=self.namespace)

    def settle(self, service: Published, pods: Collection[str], *, port: str = "") -> None:
        """Until exactly these pods are the Service's ready endpoints, and every node's rules say so."""
        self.wait(*pods)
        wait_until(
            f"{sorted(pods)} to be the endpoints of {service.name}",
            lambda: {ip for ip, _ in service.endpoints(port)} == {self.ip(pod) for pod in pods},
            timeout=POD_START,
        )
        self.rulebook.settle()

    def ip(self, pod: str) -> str:
        """A pod's IP."""
        status = self.cluster.api.get(Pod, pod, namespace=self.namespace).status
        assert status is not None
        assert status.podIP, f"{pod} has no IP"
        return status.podIP

    def client(self, pod: str) -> FromPod:
        """A pod that was made with `client=True`, to connect from."""
        return FromPod(self.cluster, self.namespace, pod, CLIENT)

    def delete(self, *pods: str, grace: int | None = None) -> None:
        """Delete pods as `kubectl delete pod` does, with the grace they were made with unless told."""
        for pod in pods:
            self.cluster.api.delete(Pod, pod, namespace=self.namespace, grace_period=grace)

    def _container(self, image: str) -> Manifest:
        return {**self.cluster.container(image), "env": [POD_IP]}


def of_nobody(spec: Mapping[str, Any]) -> Manifest:
    """A Service's spec for which no controller makes a load balancer, be it MetalLB or somebody's cloud."""
    return {"loadBalancerClass": NOBODY, **spec} if spec.get("type") == "LoadBalancer" else dict(spec)


def _only(node: str) -> Manifest:
    """Node affinity to one node."""
    match = {"key": "metadata.name", "operator": "In", "values": [node]}
    return {
        "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{"matchFields": [match]}]}
    }


@pytest.fixture(scope="module")
def stage(
    request: pytest.FixtureRequest, cluster: Cluster, new_namespace: NewNamespace, rulebook: Rulebook
) -> Iterator[Stage]:
    """An empty namespace for this file, removed at its end; tests share it, so names in it are drawn."""
    name = new_namespace(request.module.__name__.rpartition("test_")[2].replace("_", "-") + "-stage")
    yield Stage(cluster, name, rulebook)
    cluster.remove(Namespace, name)
