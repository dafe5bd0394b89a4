"""A namespace with pods and Services as a file of tests wants them; no Service of it stays."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest
from lightkube.resources.core_v1 import Pod, Service
from lightkube.types import PatchType

from lab.any_cluster import MYTEST

from .cluster import NOBODY, Cluster, Endpoint, Port
from .own import NewNamespace
from .pod_pool import Kind, PodPool
from .probing import FromPod
from .rulebook import Rulebook
from .waiting import wait_until
from .workload import POD_START, TARGET_PORT, probes

Manifest = dict[str, Any]
SERVER, CLIENT = "mytest", "client"
"""Names of a pod's containers: the one that answers, and one that only has the network tools."""
IDLE = ("sleep", "3600")
"""What a container does of which nothing is wanted but to be there."""
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
    pool: PodPool
    applied: list[tuple[type[Any], str]] = field(default_factory=list)
    """What `clear` removes beside pods and Services: kind and name."""
    tools: dict[str, str] = field(default_factory=dict)
    """Pod to the container of it that has the network tools."""

    def pod(
        self,
        labels: Mapping[str, str],
        *,
        node: str | None = None,
        client: bool = False,
        server: bool = True,
        drain: float = 3,
        port: int = TARGET_PORT,
        port_name: str = "web",
        ready: bool = True,
        grace: int = 0,
        command: Sequence[str] = IDLE,
        limits: Mapping[str, str] | None = None,
        own: bool = False,
        **spec: Any,
    ) -> str:
        """Say the name of a pod, made now or left by another file; `wait` waits for it.

        Args:
            labels: what Services select it by.
            node: the node it shall run on; None: any.
            client: whether it has the network tools, to connect from it.
            server: whether it has mytest, which answers on `port` over TCP and UDP.
            drain: seconds that mytest goes on answering once the pod is told to stop.
            port: where mytest listens.
            port_name: the container port's name, for Services whose targetPort is a name.
            ready: False: the pod runs, and is not Ready until `set_ready`: it has a readiness gate.
            grace: seconds between SIGTERM and SIGKILL at most, terminationGracePeriodSeconds.
            command: what a container with the tools alone runs; its environment has `POD_IP`.
            limits: its containers' limits of resources: `{"ephemeral-storage": "1Mi"}`.
            own: whether something is left running in it, so that no other file may have it.
            spec: more of the pod's spec: `hostNetwork`, `hostname`, `subdomain`, `dnsConfig`…
        """
        kind = Kind(drain, grace, port, port_name)
        plain = ready and not (own or spec or limits) and command == IDLE
        if plain:
            if found := self.pool.take(kind, labels, node=node):
                return found
            # All alike, so that they can stand for each other.
            client = server = True
        name = f"pod-{secrets.token_hex(4)}"
        containers: list[Manifest] = []
        if server:
            # On a host's network by one address: the answer to a datagram that came to any of the host's
            # would be sent from the one nearest to the client, which did not ask there.
            address = "$(POD_IP)" if spec.get("hostNetwork") else ""
            words = [f"--listen={address}:{port}", f"--drain={drain:g}s"]
            opened = {"containerPort": port, "name": port_name}
            serves = {"name": SERVER, "args": words, "ports": [opened], **probes(port)}
            # In one container where it can be: each is dear.
            if client and command == IDLE:
                containers.append({**self._container("tools"), **serves, "command": [MYTEST]})
                self.tools[name] = SERVER
            else:
                containers.append({**self._container("mytest"), **serves})
        if client and name not in self.tools:
            containers.append({**self._container("tools"), "name": CLIENT, "command": list(command)})
            self.tools[name] = CLIENT
        if limits:
            containers = [{**container, "resources": {"limits": dict(limits)}} for container in containers]
        whole: Manifest = {"terminationGracePeriodSeconds": grace, "containers": containers, **spec}
        if not ready:
            whole["readinessGates"] = [{"conditionType": GATE}]
        if node is not None:
            # Not spec.nodeName, which no admission and no scheduler looks at.
            whole["affinity"] = {"nodeAffinity": _only(node)}
            whole["tolerations"] = [{"operator": "Exists"}]
        self.apply("v1", "Pod", name, {"spec": whole}, labels=labels)
        if plain:
            self.pool.note(name, kind, labels)
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
        made = self.cluster.apply({"apiVersion": version, "kind": kind, "metadata": meta, **rest})
        self.applied.append((type(made), name))

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
        return FromPod(self.cluster, self.namespace, pod, self.tools[pod])

    def delete(self, *pods: str, grace: int | None = None) -> None:
        """Delete pods as `kubectl delete pod` does, with the grace they were made with unless told."""
        for pod in pods:
            self.cluster.api.delete(Pod, pod, namespace=self.namespace, grace_period=grace)

    def clear(self) -> None:
        """Remove what a file has put here; plain pods stay, for the next one."""
        self.cluster.api.deletecollection(Service, namespace=self.namespace)
        for kind, name in self.applied:
            if kind not in (Pod, Service):
                self.cluster.remove(kind, name, namespace=self.namespace)
        self.applied.clear()
        self.pool.give_back()

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


@pytest.fixture(scope="session")
def shared_stage(cluster: Cluster, new_namespace: NewNamespace, rulebook: Rulebook) -> Stage:
    """One for this session, which files take in turn: pods are dear."""
    namespace = new_namespace("stage")
    return Stage(cluster, namespace, rulebook, PodPool(cluster, namespace))


@pytest.fixture(scope="module")
def stage(shared_stage: Stage) -> Iterator[Stage]:
    """A namespace for this file, cleared at its end; tests share it, so names in it are drawn."""
    yield shared_stage
    shared_stage.clear()
