"""Plain pods that one file of tests leaves to the next: to start one and to end it is dear.

It takes two seconds of a processor on a user-mode node, and is most of what the suites' nodes compute.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from lightkube import ApiError
from lightkube.resources.core_v1 import Pod
from lightkube.types import PatchType

from .cluster import Cluster, ready

Labels = Mapping[str, str]


@dataclass(frozen=True)
class Kind:
    """What pods that can stand for each other have in common."""

    drain: float
    grace: int
    port: int
    port_name: str


@dataclass
class PodPool:
    """The plain pods of one namespace: those that somebody uses, and those that wait for the next."""

    cluster: Cluster
    namespace: str
    used: dict[str, tuple[Kind, Labels]] = field(default_factory=dict)
    """By name, with the labels that they were given."""
    idle: dict[str, tuple[Kind, str]] = field(default_factory=dict)
    """By name, with their nodes; they have no labels, so that no Service selects them."""

    def note(self, name: str, kind: Kind, labels: Labels) -> None:
        """A pod was made that others may have later."""
        self.used[name] = kind, labels

    def take(self, kind: Kind, labels: Labels, *, node: str | None) -> str | None:
        """A pod of this kind, on this node if one is named, with these labels; None: there is none."""
        for name, (found, where) in list(self.idle.items()):
            if found == kind and node in (None, where):
                del self.idle[name]
                if self._label(name, labels):
                    self.used[name] = kind, labels
                    return name
        return None

    def give_back(self) -> None:
        """Nobody uses a pod any more: keep those that are as they were made, and delete the rest."""
        for pod in self.cluster.api.list(Pod, namespace=self.namespace):
            name = (pod.metadata and pod.metadata.name) or ""
            if name in self.idle or (pod.metadata and pod.metadata.deletionTimestamp):
                continue
            kind, labels = self.used.get(name, (None, {}))
            if kind and as_made(pod) and self._label(name, dict.fromkeys(labels)):
                self.idle[name] = kind, (pod.spec and pod.spec.nodeName) or ""
            else:
                self.cluster.remove(Pod, name, namespace=self.namespace)
        self.used.clear()

    def _label(self, name: str, labels: Mapping[str, str | None]) -> bool:
        """Set labels, or take them away (None); False: the pod is gone."""
        try:
            self.cluster.api.patch(
                Pod,
                name,
                {"metadata": {"labels": dict(labels)}},
                namespace=self.namespace,
                patch_type=PatchType.MERGE,
            )
        except ApiError as error:
            if error.status.code != 404:
                raise
            return False
        return True


def as_made(pod: Pod) -> bool:
    """Whether a pod is Ready, and none of its containers has ended since it was made."""
    containers = (pod.status and pod.status.containerStatuses) or []
    return ready(pod) and not any(one.restartCount for one in containers)
