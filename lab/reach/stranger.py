"""Any cluster, by its kubeconfig alone: the nodes are seen from a DaemonSet in a namespace of its own.

Its pods are privileged and in the node's network, with the node's files mounted read-only for programs that
the image lacks. Nothing but that namespace is made, and it is removed whatever happens, with every other one
that has this run's label (`lab.reach.spaces`).
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

from lab import shell
from lab.errors import InputError, LabError, PrerequisiteError, WaitTimeout
from lab.reach import spaces
from lab.reach.base import Reach

LABEL = "kube-service-lab.io/view"
CONTAINER = "view"
START = 90.0
"""Seconds for the image to be pulled and the pods to run on every node."""
GONE = 90.0
"""Seconds for the namespaces to be gone: few of their pods have a grace period."""
AT_ONCE = 32
"""So many nodes are asked at the same time."""

#: Programs of the node stand in for those that the image lacks; `$NODE` is where the node's files are. Both
#: flavours of iptables are asked, which do not see each other's rules: the one with kube-proxy's is meant.
TOOLS = r"""
NODE=/host PATH=$PATH:/usr/sbin:/sbin:/tmp/of-the-node; export NODE PATH
if ! test -e /tmp/of-the-node/complete; then
  mkdir -p /tmp/of-the-node
  for tool in iptables-save iptables-nft-save iptables-legacy-save iptables nft ipvsadm ipset ip ss sysctl \
    conntrack curl bash timeout python3 containerd ctr kubelet systemctl; do
    if ! command -v $tool >/dev/null && chroot /host sh -c "command -v $tool" >/dev/null 2>&1; then
      printf '#!/bin/sh\nexec chroot /host %s "$@"\n' $tool >/tmp/of-the-node/$tool
      chmod +x /tmp/of-the-node/$tool
    fi
  done
  if test -e /tmp/of-the-node/iptables-save; then
    { echo '#!/bin/sh'; cat; } >/tmp/of-the-node/iptables-save <<'END'
said=$(chroot /host iptables-save "$@")
for save in iptables-nft-save iptables-legacy-save; do
  case $said in *":KUBE-SERVICES "*) break;; esac
  other=$($save "$@" 2>/dev/null) || continue
  case $other in *":KUBE-SERVICES "*) said=$other;; esac
done
printf '%s\n' "$said"
END
  fi
  touch /tmp/of-the-node/complete
fi
"""


class Stranger(Reach):
    """A cluster that no lab made.

    Args:
        kubeconfig: its file; the current context is used.
        image: the image of the pods, with a shell and sleep; None: the lab's own tools, if
            the nodes have them.
        life: seconds after which the run is over for certain.

    Raises:
        InputError: there is no such file, or an image must be given.
        PrerequisiteError: there is no kubectl.
    """

    def __init__(
        self,
        kubeconfig: Path,
        *,
        image: str | None = None,
        kubectl: Path | None = None,
        life: float = spaces.LIFE,
    ) -> None:
        if not kubeconfig.is_file():
            raise InputError(f"There is no kubeconfig {str(kubeconfig)!r}.")
        program = kubectl or shutil.which("kubectl")
        if program is None:
            raise PrerequisiteError(
                "There is no kubectl here.",
                fix="install kubectl, or build the lab's own: lab bundle build kubernetes",
            )
        super().__init__(program, kubeconfig)
        self.image = image
        self.namespace = spaces.new_run()
        """Of the pods; the run's name too."""
        self.life = life
        self.until = spaces.until(life)
        """When this run's namespaces may be removed by anybody."""
        self.pods: dict[str, str] = {}
        """Node to the name of its pod."""

    def __enter__(self) -> Self:
        """Make the namespace and wait for a pod on every node.

        Raises:
            WaitTimeout: some did not run in time; says which and why. Nothing is left.
        """
        self._remove_old()
        self.image = self.image or self.known_image("tools")
        if self.image is None:
            raise InputError(
                "The nodes have no image of the lab's to look at them with.",
                fix="name one that has a shell and curl: --image REGISTRY/IMAGE:TAG",
            )
        try:
            self._apply(self.image)
            self._wait()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Remove the namespaces of this run, and see that they are gone."""
        self.kubectl(
            "delete",
            "namespace",
            f"--selector={spaces.RUN}={self.namespace}",
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
        """Namespaces that a killed run left."""
        for name in spaces.left_over(self.items(f"/api/v1/namespaces?labelSelector={quote(spaces.OURS)}")):
            self.kubectl("delete", "namespace", name, "--wait=false")

    def known_image(self, name: str) -> str | None:
        """The lab's own image of that name, as a node has it; None where none has."""
        for node in self.items("/api/v1/nodes"):
            for image in node["status"].get("images") or ():
                for full in image.get("names") or ():
                    if full.rpartition("/")[2].partition(":")[0] == name and "@" not in full:
                        return str(full)
        return None

    def _apply(self, image: str) -> None:
        labels = {LABEL: self.namespace}
        namespace = spaces.manifest(self.namespace, run=self.namespace, until=self.until)
        daemon = {
            "apiVersion": "apps/v1",
            "kind": "DaemonSet",
            "metadata": {"name": "view", "namespace": self.namespace},
            "spec": {"selector": {"matchLabels": labels}, "template": _template(image, labels, self.life)},
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


def _template(image: str, labels: dict[str, str], life: float) -> dict[str, Any]:
    return {
        "metadata": {"labels": labels},
        "spec": {
            "hostNetwork": True,
            "nodeSelector": {"kubernetes.io/os": "linux"},
            "terminationGracePeriodSeconds": 0,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "tolerations": [{"operator": "Exists"}],
            "containers": [
                {
                    "name": CONTAINER,
                    "image": image,
                    "imagePullPolicy": "IfNotPresent",
                    "command": ["sleep", f"{life:g}"],
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
