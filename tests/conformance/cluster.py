"""What the Kubernetes API says, in the few shapes the suites compare."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
from lightkube import ApiError, Client, KubeConfig
from lightkube.codecs import from_dict
from lightkube.resources.apps_v1 import Deployment
from lightkube.resources.core_v1 import Event, Namespace, Pod, Service
from lightkube.resources.core_v1 import Node as NodeResource
from lightkube.resources.discovery_v1 import EndpointSlice

Endpoint = tuple[str, int]
"""A pod's IP and port."""
NOBODY = "kube-service-lab.io/nobody"
"""A class of load balancers that no controller makes."""

MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
"""The label of EndpointSlices that says who writes them."""


@dataclass(frozen=True)
class Port:
    """One port of a Service and what stands behind it."""

    namespace: str
    service: str
    name: str
    cluster_ip: str
    number: int
    protocol: str
    """`TCP` or `UDP`."""
    node_port: int | None

    def __str__(self) -> str:
        """As kube-proxy writes it: `default/mytest-svc` or `kube-system/kube-dns:dns`."""
        return f"{self.namespace}/{self.service}" + (f":{self.name}" if self.name else "")


def ready(pod: Pod) -> bool:
    """Whether a pod, as it was read, is Ready."""
    conditions = (pod.status and pod.status.conditions) or []
    return any(one.type == "Ready" and one.status == "True" for one in conditions)


class Cluster:
    """The API of the cluster under test; `api` is the lightkube client itself.

    Args:
        kubeconfig: its file.
        kubectl: the program.
        images: on a cluster that no lab made, the image to use by the name of the lab's own.
    """

    def __init__(self, kubeconfig: Path, kubectl: Path, images: Mapping[str, str] | None = None) -> None:
        self.kubeconfig, self.kubectl = kubeconfig, kubectl
        self.images = dict(images or {})
        self.api = Client(
            config=KubeConfig.from_file(kubeconfig), timeout=httpx2.Timeout(20.0), trust_env=False
        )

    def apply(self, manifest: Mapping[str, Any]) -> Any:
        """Create the object, or replace it where it is there; returns what the API made of it."""
        wanted = from_dict(dict(manifest))
        return self.api.apply(wanted, field_manager="kube-service-lab-conformance", force=True)

    def services(self, namespace: str = "*") -> list[Service]:
        """All Services, by default of all namespaces."""
        return list(self.api.list(Service, namespace=namespace))

    def ports(self, namespace: str = "*") -> list[Port]:
        """Every port that kube-proxy must serve: those of all Services with a ClusterIP of their own."""
        found = []
        for service in self.services(namespace):
            spec, meta = service.spec, service.metadata
            assert spec is not None
            assert meta is not None
            if spec.type == "ExternalName" or spec.clusterIP in (None, "", "None"):
                continue
            found += [
                Port(
                    namespace=meta.namespace or "",
                    service=meta.name or "",
                    name=port.name or "",
                    cluster_ip=spec.clusterIP or "",
                    number=port.port,
                    protocol=port.protocol or "TCP",
                    node_port=port.nodePort or None,
                )
                for port in spec.ports or []
            ]
        return found

    def ports_of(self, namespace: str, service: str) -> list[Port]:
        """The ports of one Service."""
        return [port for port in self.ports(namespace) if port.service == service]

    def slices(self, namespace: str, service: str) -> list[EndpointSlice]:
        """The EndpointSlices of a Service."""
        of_service = self.api.list(
            EndpointSlice, namespace=namespace, labels={"kubernetes.io/service-name": service}
        )
        return list(of_service)

    def endpoints(self, namespace: str, service: str, *, port: str = "") -> set[Endpoint]:
        """The ready endpoints of a Service's port, from its EndpointSlices."""
        return {
            (address, number.port)
            for part in self.slices(namespace, service)
            for number in part.ports or []
            if (number.name or "") == port and number.port
            for endpoint in part.endpoints or []
            if endpoint.conditions is None or endpoint.conditions.ready is not False
            for address in endpoint.addresses
        }

    def leaving(self, namespace: str, service: str) -> set[str]:
        """The addresses of endpoints that terminate: kube-proxy falls back to them where no other is left.

        Source: KEP-1669, "Proxy Terminating Endpoints".
        """
        return {
            address
            for part in self.slices(namespace, service)
            for endpoint in part.endpoints or []
            if endpoint.conditions is not None and endpoint.conditions.terminating
            for address in endpoint.addresses
        }

    def endpoints_of(self, port: Port) -> set[Endpoint]:
        """The ready endpoints behind one port of a Service."""
        return self.endpoints(port.namespace, port.service, port=port.name)

    def pods(self, namespace: str, labels: Mapping[str, str]) -> dict[str, str]:
        """Pod name to pod IP, of the pods that are not on their way out."""
        return {
            pod.metadata.name or "": (pod.status.podIP or "") if pod.status else ""
            for pod in self.api.list(Pod, namespace=namespace, labels=dict(labels))
            if pod.metadata and not pod.metadata.deletionTimestamp
        }

    def deployment(self, namespace: str, name: str) -> Deployment:
        """One Deployment."""
        return self.api.get(Deployment, name, namespace=namespace)

    def kubernetes_nodes(self) -> dict[str, NodeResource]:
        """The Node objects by name."""
        return {node.metadata.name or "": node for node in self.api.list(NodeResource) if node.metadata}

    def image(self, name: str) -> str:
        """The full name of an image the lab ships, as the nodes have it: `tools` → `…/tools:2`."""
        if name in self.images:
            return self.images[name]
        for node in self.kubernetes_nodes().values():
            for image in (node.status.images if node.status else None) or []:
                for full in image.names or []:
                    if full.rpartition("/")[2].partition(":")[0] == name and "@" not in full:
                        return full
        if self.images:
            pytest.skip(f"no node has an image called {name}, and none was named")
        raise AssertionError(f"no node has an image called {name}")

    def container(self, image: str, *, name: str | None = None) -> dict[str, Any]:
        """A container of an image the lab ships; a lab's nodes have it, others may pull it."""
        policy = "IfNotPresent" if image in self.images else "Never"
        return {"name": name or image, "image": self.image(image), "imagePullPolicy": policy}

    def pods_on(self, namespace: str, labels: Mapping[str, str]) -> dict[str, str]:
        """Pod name to the node it runs on."""
        return {
            pod.metadata.name or "": (pod.spec.nodeName or "") if pod.spec else ""
            for pod in self.api.list(Pod, namespace=namespace, labels=dict(labels))
            if pod.metadata and not pod.metadata.deletionTimestamp
        }

    def exec_argv(
        self, namespace: str, pod: str, command: Iterable[str], *, container: str | None = None
    ) -> list[str]:
        """The command line that runs a command in a pod, with this side's input and output."""
        # By kubectl: lightkube's exec closes its socket while a thread of its own still reads from that
        # descriptor, which may be the next connection's by then: one exec in twelve ended in an SSL error.
        options = [f"--container={container}"] if container else []
        words = ["exec", "--stdin", f"--namespace={namespace}", pod, *options, "--", *command]
        return [str(self.kubectl), f"--kubeconfig={self.kubeconfig}", *words]

    def is_ready(self, namespace: str, pod: str) -> bool:
        """Whether the pod says it is Ready."""
        return ready(self.api.get(Pod, pod, namespace=namespace))

    def story(self, namespace: str, pod: str) -> str:
        """What the API knows of a pod: its node, its conditions, its containers, and what was said of it."""
        found = self.api.get(Pod, pod, namespace=namespace)
        status = found.status.to_dict() if found.status else {}
        node = found.spec.nodeName if found.spec else None
        lines = [f"node: {node}, phase: {status.get('phase')}"]
        lines += self.unready(node) if node else ()
        lines += [f"condition: {condition}" for condition in status.get("conditions", ())]
        lines += [f"container: {container}" for container in status.get("containerStatuses", ())]
        for event in self.api.list(Event, namespace=namespace, fields={"involvedObject.name": pod}):
            when = event.lastTimestamp or event.eventTime
            lines.append(f"event: {when} {event.reason} ({event.count or 1} times): {event.message}")
        return "\n".join(lines)

    def unready(self, node: str) -> list[str]:
        """What the API says of a node that is not Ready; nothing of one that is."""
        status = self.api.get(NodeResource, node).status
        told = [c for c in (status and status.conditions) or () if c.type == "Ready" and c.status != "True"]
        return [f"{node} is not Ready since {c.lastTransitionTime}: {c.reason}: {c.message}" for c in told]

    def has(self, kind: type[Any], name: str, *, namespace: str | None = None) -> bool:
        """Whether there is such an object."""
        try:
            self.api.get(kind, name, namespace=namespace)
        except ApiError as error:
            if error.status.code != 404:
                raise
            return False
        return True

    def remove(self, kind: type[Any], name: str, *, namespace: str | None = None) -> None:
        """Delete an object and leave the rest to the cluster; an object that is gone already is fine."""
        with contextlib.suppress(ApiError):
            self.api.delete(kind, name, namespace=namespace, grace_period=0)

    def namespaces(self) -> set[str]:
        """The names of all namespaces, those on their way out as well."""
        return {item.metadata.name or "" for item in self.api.list(Namespace) if item.metadata}
