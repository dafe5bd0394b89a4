"""Any cluster, by its kubeconfig alone: the nodes are seen from a DaemonSet in a namespace of its own.

Its pods are privileged and in the node's network, with the node's files mounted read-only for programs that
the image lacks. Nothing but that namespace is made, and it is removed whatever happens.
"""

from __future__ import annotations

import json
import secrets
import shutil
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

from lab import shell
from lab.errors import InputError, LabError, PrerequisiteError, WaitTimeout
from lab.reach.base import Reach

PREFIX = "kube-service-lab-"
LABEL = "kube-service-lab.io/view"
MANAGED, MANAGER = "app.kubernetes.io/managed-by", "kube-service-lab"
LIFE = 3600
"""Seconds that a pod sleeps: longer than any run."""
START = 90.0
"""Seconds for the image to be pulled and the pods to run on every node."""
GONE = 60.0
"""Seconds for the namespace to be gone: its pods have no grace period."""
AT_ONCE = 32
"""So many nodes are asked at the same time."""

#: Programs of the node stand in for those that the image lacks.
TOOLS = r"""
PATH=$PATH:/usr/sbin:/sbin:/tmp/of-the-node; export PATH; mkdir -p /tmp/of-the-node
for tool in iptables-save iptables-nft-save iptables-legacy-save nft ipvsadm ipset ip conntrack curl bash \
  timeout; do
  if ! command -v $tool >/dev/null; then
    printf '#!/bin/sh\nexec chroot /host %s "$@"\n' $tool >/tmp/of-the-node/$tool
    chmod +x /tmp/of-the-node/$tool
  fi
done
"""


class Stranger(Reach):
    """A cluster that no lab made.

    Args:
        kubeconfig: its file; the current context is used.
        image: the image of the pods, with a shell and sleep; None: the lab's own tools, if
            the nodes have them.

    Raises:
        InputError: there is no such file, or an image must be given.
        PrerequisiteError: there is no kubectl.
    """

    def __init__(self, kubeconfig: Path, *, image: str | None = None, kubectl: Path | None = None) -> None:
        if not kubeconfig.is_file():
            raise InputError(f"There is no kubeconfig {str(kubeconfig)!r}.")
        program = kubectl or shutil.which("kubectl")
        if program is None:
            raise PrerequisiteError(
                "There is no kubectl here.",
                fix="install kubectl, or build the lab's own: lab bundle build kubernetes",
            )
        super().__init__(program, kubeconfig)
        self._image = image
        self.namespace = f"{PREFIX}{secrets.token_hex(4)}"
        self.pods: dict[str, str] = {}
        """Node to the name of its pod."""

    def __enter__(self) -> Self:
        """Make the namespace and wait for a pod on every node.

        Raises:
            WaitTimeout: some did not run in time; says which and why. Nothing is left.
        """
        self._remove_old()
        image = self._image or self._tools_image()
        try:
            self._apply(image)
            self._wait()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Remove the namespace, and see that it is gone."""
        self.kubectl(
            "delete",
            "namespace",
            self.namespace,
            "--ignore-not-found",
            f"--timeout={GONE:g}s",
            timeout=GONE + 10,
        )

    def run(
        self, script: str, *, timeout: float = 30, only: Iterable[str] | None = None
    ) -> dict[str, shell.Result]:
        """See `Reach.run`."""
        names = list(self.pods if only is None else only)

        def one(name: str) -> shell.Result:
            argv = ("exec", "-i", f"--namespace={self.namespace}", self.pods[name], "--", "sh", "-s")
            try:
                return self.kubectl(*argv, stdin=TOOLS + script, timeout=timeout, check=False)
            except WaitTimeout as late:
                return shell.Result(argv, 124, "", str(late), timeout)

        with ThreadPoolExecutor(max(1, min(AT_ONCE, len(names)))) as pool:
            return dict(zip(names, pool.map(one, names), strict=True))

    def _remove_old(self) -> None:
        """Namespaces that a killed run left: none is in use for longer than its pods sleep."""
        for space in self.items(f"/api/v1/namespaces?labelSelector={MANAGED}%3D{MANAGER}"):
            made = datetime.fromisoformat(space["metadata"]["creationTimestamp"])
            if datetime.now(UTC) - made > timedelta(seconds=LIFE):
                self.kubectl("delete", "namespace", space["metadata"]["name"], "--wait=false")

    def _tools_image(self) -> str:
        for node in self.items("/api/v1/nodes"):
            for image in node["status"].get("images") or ():
                for name in image.get("names") or ():
                    if name.rpartition("/")[2].partition(":")[0] == "tools" and "@" not in name:
                        return str(name)
        raise InputError(
            "The nodes have no image of the lab's to look at them with.",
            fix="name one that has a shell and curl: --image REGISTRY/IMAGE:TAG",
        )

    def _apply(self, image: str) -> None:
        labels = {LABEL: self.namespace}
        namespace = {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {
                "name": self.namespace,
                "labels": {
                    MANAGED: MANAGER,
                    "pod-security.kubernetes.io/enforce": "privileged",
                },
            },
        }
        daemon = {
            "apiVersion": "apps/v1",
            "kind": "DaemonSet",
            "metadata": {"name": "view", "namespace": self.namespace},
            "spec": {"selector": {"matchLabels": labels}, "template": _template(image, labels)},
        }
        both = {"apiVersion": "v1", "kind": "List", "items": [namespace, daemon]}
        self.kubectl("create", "-f", "-", stdin=json.dumps(both))

    def _wait(self) -> None:
        """Until a pod runs on every node that the DaemonSet wants one on."""
        end = time.monotonic() + START
        while True:
            path = f"/apis/apps/v1/namespaces/{self.namespace}/daemonsets/view"
            status = self.get(path).get("status") or {}
            wanted = int(status.get("desiredNumberScheduled") or 0)
            pods = self.items(f"/api/v1/namespaces/{self.namespace}/pods")
            self.pods = {pod["spec"]["nodeName"]: pod["metadata"]["name"] for pod in pods if _ready(pod)}
            if wanted and len(self.pods) >= wanted:
                return
            if time.monotonic() > end:
                raise WaitTimeout(
                    f"The pods that look at the nodes did not all run within {START:g} s.",
                    details=[_why(pod) for pod in pods if not _ready(pod)] or ["no pod was made"],
                    fix="see that the image can be pulled there, or name another: --image",
                )
            time.sleep(0.5)


def _template(image: str, labels: dict[str, str]) -> dict[str, Any]:
    return {
        "metadata": {"labels": labels},
        "spec": {
            "hostNetwork": True,
            "terminationGracePeriodSeconds": 0,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "tolerations": [{"operator": "Exists"}],
            "containers": [
                {
                    "name": "view",
                    "image": image,
                    "imagePullPolicy": "IfNotPresent",
                    "command": ["sleep", f"{LIFE}"],
                    "securityContext": {"privileged": True},
                    "volumeMounts": [{"name": "host", "mountPath": "/host", "readOnly": True}],
                }
            ],
            "volumes": [{"name": "host", "hostPath": {"path": "/"}}],
        },
    }


def _ready(pod: dict[str, Any]) -> bool:
    conditions = pod["status"].get("conditions") or ()
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def _why(pod: dict[str, Any]) -> str:
    states = [one.get("state") or {} for one in pod["status"].get("containerStatuses") or ()]
    reasons = [
        f"{state['waiting'].get('reason', '')} {state['waiting'].get('message', '')}".strip()
        for state in states
        if "waiting" in state
    ]
    node = pod["spec"].get("nodeName") or "no node"
    return f"{node}: {'; '.join(reasons) or pod['status'].get('phase')}"


def own_kubectl() -> Path | None:
    """The kubectl of the lab's own version if it is built, else None."""
    from lab import sources  # noqa: PLC0415 -- brings the builder, which takes a moment to load
    from lab.config import Config  # noqa: PLC0415

    config = Config()
    try:
        program = sources.get(config.source).program(config, "kubectl")
    except LabError:
        return None
    return program if program.is_file() else None
