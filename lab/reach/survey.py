"""What a cluster that no lab made says of itself: all that the suites need to know of it.

Only reads. What a cluster does not say is None: what needs it is left out, with that reason.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from ipaddress import ip_network
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict

from lab.errors import LabError
from lab.proxy.settings import Settings
from lab.reach.base import Object, Reach
from lab.verify.view import Objects, View, look

CONTROL_PLANE = ("node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master")
SYSTEM = "/api/v1/namespaces/kube-system"
KUBEADM = f"{SYSTEM}/configmaps/kubeadm-config"
"""What `kubeadm init` keeps of its configuration (kubeadm's own docs, "Uploading a ConfigMap")."""
SERVICE_CIDRS = "/apis/networking.k8s.io/v1/servicecidrs"
"""Since Kubernetes 1.33 (KEP-1880)."""
DNS = f"{SYSTEM}/services?labelSelector=k8s-app%3Dkube-dns"
"""Whichever DNS server serves the cluster, its Service has this label."""
RUNTIME = {"kernel": "kernelVersion", "os": "osImage", "kubelet": "kubeletVersion"}
"""A fact's name to its name in a Node's `status.nodeInfo`."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SurveyedNode(_Part):
    """One node: its InternalIP of IPv4, and how kube-proxy serves there."""

    name: str
    address: str
    control_plane: bool
    mode: str
    zone: str | None
    settings: Settings
    versions: dict[str, str]


class Survey(_Part):
    """One cluster; the control plane's nodes come first."""

    name: str
    kubernetes: str
    nodes: tuple[SurveyedNode, ...]
    pod_cidr: str | None
    service_cidr: str | None
    cluster_dns: str | None

    @property
    def mode(self) -> str:
        """The one proxy mode of all nodes.

        Raises:
            LabError: they have several.
        """
        modes = {node.mode for node in self.nodes}
        if len(modes) != 1:
            raise LabError(
                "The nodes' kube-proxies do not serve by one mode.",
                details=[f"{node.name}: {node.mode}" for node in self.nodes],
            )
        return modes.pop()


def survey(reach: Reach, name: str) -> Survey:
    """Ask the API and every node.

    Args:
        reach: the cluster.
        name: what it shall be called.

    Raises:
        InputError: a node's kube-proxy does not say by which mode it serves.
        LabError: the API or a node does not answer.
    """
    objects = Objects.read(reach)
    views = look(reach, objects)
    kubeadm = _kubeadm(reach)
    nodes = sorted(
        (_node(view, objects.nodes[name]) for name, view in views.items()),
        key=lambda node: (not node.control_plane, node.name),
    )
    return Survey(
        name=name,
        kubernetes=release(reach.get("/version")["gitVersion"]),
        nodes=tuple(nodes),
        pod_cidr=ipv4(kubeadm.get("podSubnet")) or _pods(node.settings for node in nodes),
        service_cidr=_service_cidr(reach) or ipv4(kubeadm.get("serviceSubnet")),
        cluster_dns=next((_cluster_ip(service) for service in reach.items(DNS)), None),
    )


def release(version: str) -> str:
    """The release that a version is of: distributors add words to it.

    >>> release("v1.34.2-eks-4f4795d")
    '1.34.2'
    """
    found = re.match(r"v?(\d+\.\d+\.\d+)", version)
    return found[1] if found else version


def ipv4(cidrs: str | None) -> str | None:
    """The first IPv4 network of those that a comma separates; None where there is none."""
    for cidr in (cidrs or "").split(","):
        try:
            network = ip_network(cidr.strip())
        except ValueError:
            continue
        if network.version == 4:
            return str(network)
    return None


def _node(view: View, node: Mapping[str, Any]) -> SurveyedNode:
    labels, info = node["metadata"].get("labels") or {}, node["status"].get("nodeInfo") or {}
    kind, _, version = str(info.get("containerRuntimeVersion", "")).partition("://")
    versions = {fact: str(info[field]) for fact, field in RUNTIME.items() if info.get(field)}
    return SurveyedNode(
        name=view.node.name,
        address=view.node.address,
        control_plane=any(label in labels for label in CONTROL_PLANE),
        mode=view.mode,
        zone=view.node.zone,
        settings=view.settings,
        versions=versions | ({kind: version} if version else {}),
    )


def _kubeadm(reach: Reach) -> Mapping[str, Any]:
    """The networks that kubeadm was told; empty where the cluster was made otherwise."""
    try:
        config = yaml.safe_load(reach.get(KUBEADM)["data"]["ClusterConfiguration"])
    except (LabError, KeyError, yaml.YAMLError):
        return {}
    networks = config.get("networking") if isinstance(config, dict) else None
    return networks if isinstance(networks, dict) else {}


def _service_cidr(reach: Reach) -> str | None:
    try:
        ranges = reach.items(SERVICE_CIDRS)
    except LabError:  # an API server that has no such objects, or does not let us see them
        return None
    # A cluster may be given more of them; the first is the API server's own.
    own = next((one for one in ranges if one["metadata"]["name"] == "kubernetes"), None)
    return ipv4(",".join(own["spec"]["cidrs"])) if own else None


def _pods(settings: Iterable[Settings]) -> str | None:
    """The pods' network as every node's kube-proxy knows it, where it tells pods by one."""
    known = {one.pods for one in settings}
    return ipv4(known.pop()) if len(known) == 1 else None


def _cluster_ip(service: Object) -> str | None:
    ip = str(service["spec"].get("clusterIP") or "")
    return ip if "." in ip else None
