"""The processor time that a running lab of user-mode nodes takes: idle, and for a pod's start and end.

    .tox/lab/bin/python benchmarks/node_load.py [--lab NAME] [--seconds 60] [--pods 10]

Nothing else should run on the lab meanwhile, and nothing be left to do from a run before, which would count
as idle load: wait a few minutes between two. Each pod (mytest, its readiness asked for once a second) is made
on the last node and waited for, one after another; then all are deleted. What the idle lab takes in the same
time is left out of a pod's figures.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from lightkube import Client, KubeConfig
from lightkube.codecs import from_dict
from lightkube.resources.core_v1 import Pod

TICK = os.sysconf("SC_CLK_TCK")
LABEL: dict[str, Any] = {"app": "node-load"}
LAB = str(Path(sys.executable).with_name("lab"))
Load = dict[str, float]
"""Node to seconds of processor time."""


def main(lab: str, seconds: float, pods: int) -> None:
    """Print the table."""
    argv = [LAB, "kubeconfig", "--name", lab, "--path"]
    path = Path(subprocess.run(argv, check=True, capture_output=True, text=True).stdout.strip())
    client = Client(config=KubeConfig.from_file(path), trust_env=False)
    kernels = find(path.parent)
    last = list(kernels)[-1]
    idle = {node: used / seconds for node, used in spent(kernels, lambda: time.sleep(seconds))[0].items()}
    tell("processors, idle", idle)
    try:
        for what, work in (
            ("seconds a pod's start", lambda: start(client, last, pods)),
            ("seconds a pod's end", lambda: end(client)),
        ):
            used, taken = spent(kernels, work)
            tell(what, {node: (used[node] - idle[node] * taken) / pods for node in kernels})
    finally:
        end(client)


def find(folder: Path) -> dict[str, int]:
    """Node to the process id of its kernel, by the lab's folder; in the order of their names."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        words = read(entry / "cmdline").split("\0")
        if words[0].endswith("/linux") and any(word.startswith(f"uml_dir={folder}/") for word in words):
            found[next(word for word in words if word.startswith("umid="))[5:]] = int(entry.name)
    if not found:
        raise SystemExit(f"no user-mode node of a lab in {folder} is running: lab up --provider uml")
    return dict(sorted(found.items()))


def read(file: Path) -> str:
    """A file of /proc; nothing once its process has gone."""
    try:
        return file.read_text(errors="replace")
    except OSError:
        return ""


def totals(kernels: dict[str, int]) -> Load:
    """What each kernel and its guest's processes, which are its children, have taken so far.

    utime and stime of all of them, and the kernel's cutime and cstime for those that are gone: proc(5).
    """
    node_of = {pid: node for node, pid in kernels.items()}
    ticks = Counter[str]()
    for entry in Path("/proc").glob("[0-9]*"):
        if not (found := re.search(r"\) (.*)", read(entry / "stat"))):
            continue
        fields = found[1].split()
        own, children = sum(map(int, fields[11:13])), sum(map(int, fields[13:15]))
        if node := node_of.get(int(entry.name)):
            ticks[node] += own + children
        elif node := node_of.get(int(fields[1])):
            ticks[node] += own
    return {node: ticks[node] / TICK for node in kernels}


def spent(kernels: dict[str, int], work: Callable[[], object]) -> tuple[Load, float]:
    """What each node took while something was done, and how long that was."""
    before, begun = totals(kernels), time.monotonic()
    work()
    taken = time.monotonic() - begun
    return {node: total - before[node] for node, total in totals(kernels).items()}, taken


def start(client: Client, node: str, pods: int) -> None:
    """Make pods on a node, and wait for each until it is Ready."""
    probe = {"httpGet": {"path": "/healthz", "port": 8080}, "periodSeconds": 1}
    container = {"name": "mytest", "image": "kube-service-lab.local/mytest:v1", "imagePullPolicy": "Never"}
    spec = {
        "nodeName": node,
        "terminationGracePeriodSeconds": 0,
        "containers": [{**container, "readinessProbe": probe}],
    }
    for name in (f"load-{number}" for number in range(pods)):
        meta = {"name": name, "namespace": "default", "labels": LABEL}
        client.create(from_dict({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec}))
        until(partial(is_ready, client, name), f"the pod {name} to be Ready")


def is_ready(client: Client, name: str) -> bool:
    """Whether the API says so of a pod."""
    pod = client.get(Pod, name, namespace="default")
    conditions = (pod.status and pod.status.conditions) or []
    return any(one.type == "Ready" and one.status == "True" for one in conditions)


def end(client: Client) -> None:
    """Delete all the pods, and wait until they are gone."""
    for pod in there(client):
        client.delete(Pod, pod, namespace="default")
    until(lambda: not there(client), "the pods to be gone")


def there(client: Client) -> list[str]:
    """The names of the pods that were made here and are not gone yet."""
    return [
        f"{pod.metadata and pod.metadata.name}" for pod in client.list(Pod, namespace="default", labels=LABEL)
    ]


def until(holds: Callable[[], bool], what: str, *, timeout: float = 120) -> None:
    """Wait for something."""
    late = time.monotonic() + timeout
    while not holds():
        if time.monotonic() > late:
            raise SystemExit(f"waited {timeout:g} s for {what}")
        time.sleep(0.2)


def tell(what: str, load: Load) -> None:
    """One line of the table."""
    each = "".join(f"{node:>10} {value:5.2f}" for node, value in load.items())
    print(f"{what:<22}{each}{'all':>10} {sum(load.values()):5.2f}", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--lab", default="lab", metavar="NAME")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--pods", type=int, default=10)
    chosen = parser.parse_args()
    main(chosen.lab, chosen.seconds, chosen.pods)
