"""kube-proxy's own pods and configuration, for tests that disturb them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import yaml
from lightkube.resources.core_v1 import ConfigMap, Pod
from lightkube.types import PatchType

from .cluster import Cluster
from .nodes import Node, on_each
from .subject import PROXY_MODE
from .waiting import wait_until

NAMESPACE, NAME, FILE = "kube-system", "kube-proxy", "config.conf"
LABELS: Mapping[str, str] = {"k8s-app": "kube-proxy"}
RESTART = 120.0
"""Seconds until every node's kube-proxy is back on a busy host; a wait, not a promise."""
SYNCED = (
    "curl -sS -m 3 http://127.0.0.1:10249/metrics | grep -Eq "
    "'^kubeproxy_sync_proxy_rules_last_timestamp_seconds(\\{ip_family=\"IPv4\"\\})? [1-9]'"
)
"""On a node: whether its kube-proxy has programmed its rules since it started."""


@dataclass(frozen=True)
class KubeProxy:
    """The kube-proxy of every node, as kubeadm deploys it: a DaemonSet and its ConfigMap."""

    cluster: Cluster
    nodes: tuple[Node, ...]

    def pods(self) -> dict[str, str]:
        """Pod to node."""
        return self.cluster.pods_on(NAMESPACE, LABELS)

    def end(self) -> dict[str, str]:
        """Delete the pods, all at once, and say which; the DaemonSet replaces them."""
        ended = self.pods()
        for pod in ended:
            self.cluster.api.delete(Pod, pod, namespace=NAMESPACE)
        return ended

    def await_successors(self, ended: Mapping[str, str]) -> None:
        """Until every node has another pod than these, which has programmed its rules."""

        def back() -> bool:
            now = self.pods()
            assert not set(now) & set(ended), f"still there: {set(now) & set(ended)}"
            assert sorted(now.values()) == sorted(node.name for node in self.nodes), now
            for pod in now:
                assert self.cluster.is_ready(NAMESPACE, pod), f"{pod} is not Ready"
            said = on_each(self.nodes, lambda node: node.run(f"{SYNCED} && {PROXY_MODE}", check=False))
            assert all(said.values()), f"their modes, once they have programmed their rules: {said}"
            return True

        wait_until("every node's new kube-proxy to have programmed its rules", back, timeout=RESTART)

    def restart(self) -> None:
        """End all and wait for their successors."""
        self.await_successors(self.end())

    def configuration(self) -> str:
        """The text of KubeProxyConfiguration."""
        text: str = (self.cluster.api.get(ConfigMap, NAME, namespace=NAMESPACE).data or {})[FILE]
        return text

    def configure(self, text: str) -> None:
        """Write that text, which kube-proxy reads when it starts, and restart it."""
        change = {"data": {FILE: text}}
        self.cluster.api.patch(ConfigMap, NAME, change, namespace=NAMESPACE, patch_type=PatchType.MERGE)
        self.restart()

    def schedule_by(self, scheduler: str) -> None:
        """Have ipvs choose by this scheduler, and nothing else changed."""
        settings = yaml.safe_load(self.configuration())
        settings["ipvs"] = {**(settings.get("ipvs") or {}), "scheduler": scheduler}
        self.configure(yaml.safe_dump(settings, sort_keys=False))
