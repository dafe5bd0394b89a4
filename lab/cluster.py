"""What the lab's Kubernetes API says, asked from this host through the forwarded port."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import httpx2
from lightkube import ApiError, Client, KubeConfig
from lightkube.core.exceptions import ConfigError
from lightkube.resources.core_v1 import Node, Service

from lab.errors import BringUpError
from lab.state import LabState

UNREACHABLE = (ApiError, ConfigError, httpx2.HTTPError, OSError)


@dataclass(frozen=True)
class NodeStatus:
    """A node as the API sees it: `ready`, and the kubelet's version such as `v1.37.2`."""

    ready: bool
    version: str
    internal_ip: str


class Cluster:
    """The API of a lab.

    Raises:
        BringUpError: the lab has no kubeconfig (yet).
    """

    def __init__(self, state: LabState, *, timeout: float = 10) -> None:
        if not state.kubeconfig.is_file():
            raise BringUpError(
                f"The lab {state.name!r} has no kubeconfig: it was not brought up whole.", fix="lab up"
            )
        config = KubeConfig.from_file(str(state.kubeconfig))
        self.api: Any = Client(config=config, timeout=httpx2.Timeout(timeout), trust_env=False)

    def nodes(self) -> dict[str, NodeStatus]:
        """Every node by name.

        Raises:
            BringUpError: the API does not answer.
        """
        try:
            return {node.metadata.name: _status(node) for node in self.api.list(Node)}
        except UNREACHABLE as error:
            raise BringUpError("The lab's API server does not answer.", details=[str(error)]) from error

    def cluster_ip(self, service: str, namespace: str = "default") -> str | None:
        """A Service's ClusterIP, None if there is no such Service or no answer."""
        try:
            found = self.api.get(Service, name=service, namespace=namespace)
        except UNREACHABLE:
            return None
        return str(found.spec.clusterIP)


def _status(node: Any) -> NodeStatus:
    status = node.status
    ready = any(
        condition.type == "Ready" and condition.status == "True" for condition in status.conditions or ()
    )
    addresses = [address.address for address in status.addresses or () if address.type == "InternalIP"]
    return NodeStatus(ready, status.nodeInfo.kubeletVersion, ", ".join(addresses))
