"""What a lab leaves for someone who asks why: the nodes' logs, rules and state, each part bounded in time."""

from __future__ import annotations

import contextlib
import re
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

from lab import nodes, shell
from lab.config import Config
from lab.errors import LabError
from lab.providers.base import Provider
from lab.state import LabState, write_text

if TYPE_CHECKING:
    from lab.bring_up import BringUp

# Commands of a node, each with the file its output goes to; a command that is not there says so and no more.
ON_NODES = {
    "kubelet.log": "journalctl --no-pager -u kubelet -n 1000",
    "containerd.log": "journalctl --no-pager -u containerd -n 500",
    "system.log": "systemctl --no-pager --failed; journalctl --no-pager -p warning -n 300; free -m; df -h",
    "network.txt": "ip address; ip route show table all; ip rule; sysctl net 2>&1 | grep forward; ss -tulpn",
    "rules.txt": "iptables-save -c; nft list ruleset; ipvsadm -Sn; ipvsadm -Ln --stats; ipset save",
    "conntrack.txt": "conntrack -L",
    "containers.txt": "ctr -n k8s.io containers list; ctr -n k8s.io tasks list",
    "pods.log": "tail -n 100 /var/log/pods/*/*/*.log",
    "kube-proxy.txt": "curl -sS --max-time 5 http://127.0.0.1:10249/proxyMode http://127.0.0.1:10249/healthz",
}
ON_MASTER = {
    "cluster.txt": "export KUBECONFIG=/etc/kubernetes/admin.conf; "
    "kubectl get nodes,pods,services,endpointslices -A -o wide; "
    "kubectl get events -A --sort-by=.lastTimestamp; "
    "kubectl -n kube-system get configmap kube-proxy -o yaml",
}
FAILURE_LOGS = """
for unit in kubelet containerd; do echo "== $unit"; journalctl --no-pager -o cat -n 200 -u $unit; done
for pod in /var/log/pods/kube-system_*; do
  for log in "$pod"/*/*.log; do name=${pod##*/kube-system_}; echo "== ${name%%_*}"; tail -n 20 "$log"; done
done
"""
# klog's errors and fatals, containerd's, systemd's, panics.
TROUBLE = re.compile(r"\b[EF]\d{4} |level=(error|fatal)|panic|Failed|failed to|cannot|can't|OOM|oom-kill")
QUIET = re.compile(r"level=(debug|info|warning)|\b[IW]\d{4} ")
CRI = re.compile(r"^\S+ std(out|err) [FP] ")  # what containerd writes before each line of a container
WIDTH = 240
SHOWN = 2


def gather(config: Config, state: LabState, provider: Provider, into: Path, *, timeout: float = 60) -> Path:
    """Collect everything in a folder, and pack it.

    Args:
        config: names the nodes.
        state: the lab's folder.
        provider: adds the consoles.
        into: a folder of a run; made if it is not there.
        timeout: seconds for each node.

    Returns:
        The archive, `into` with `.tar.gz`.
    """
    into.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(LabError):
        provider.evidence(into)
    with contextlib.suppress(LabError, OSError):
        _from_nodes(config, state, provider, into, timeout)
    archive = into.with_name(f"{into.name}.tar.gz")
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(into, arcname=into.name)
    archive.chmod(0o600)
    return archive


def of_failure(run: BringUp, error: LabError) -> list[str]:
    """For a failure's message: the last troubles in the logs of the nodes it names, and where the rest is."""
    into = run.folder / "nodes"
    into.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(LabError, OSError):
        run.provider.evidence(into)
    lines: list[str] = []
    with contextlib.suppress(LabError, OSError):
        said = nodes.run(run.config, run.state, run.provider, FAILURE_LOGS, timeout=30)
        named = [name for name in said if any(name in detail for detail in error.details)] or list(said)
        for name, result in said.items():
            write_text(into / f"{name}.log", result.stdout or result.stderr)
        for name in named:
            lines += [f"{name}: {line}" for line in troubles(said[name].stdout)]
    return [*lines, f"the nodes' consoles and logs: {into}"]


def troubles(text: str) -> list[str]:
    """The last lines of each log in `text` that speak of trouble; `== NAME` begins a log."""
    found: list[str] = []
    for log in text.split("\n== "):
        title, _, rest = log.removeprefix("== ").partition("\n")
        lines = [CRI.sub("", line) for line in rest.splitlines()]
        lines = [line for line in lines if TROUBLE.search(line) and not QUIET.search(line)]
        found += [f"{title}: {line[:WIDTH]}" for line in lines[-SHOWN:]]
    return found


def _from_nodes(config: Config, state: LabState, provider: Provider, into: Path, timeout: float) -> None:
    for name, said in nodes.run(config, state, provider, _script(ON_NODES), timeout=timeout).items():
        _split(said, into / name)
    master = config.master.name
    for name, said in nodes.run(
        config, state, provider, _script(ON_MASTER), timeout=timeout, only=[master]
    ).items():
        _split(said, into / name)


def _script(commands: dict[str, str]) -> str:
    # One connection and one shell a node: starting a process is what costs there.
    return "\n".join(f"echo '@@@ {file}'; {{ {command}; }} 2>&1" for file, command in commands.items())


def _split(said: shell.Result, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    if not said.ok and not said.stdout:
        write_text(folder / "unreachable.txt", said.stderr)
    for part in said.stdout.split("@@@ ")[1:]:
        file, _, text = part.partition("\n")
        write_text(folder / Path(file).name, text)
