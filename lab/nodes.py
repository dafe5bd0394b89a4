"""Commands on a lab's nodes by ssh, on all of them at once, each bounded."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from lab import shell
from lab.config import Config
from lab.errors import BringUpError, WaitTimeout
from lab.providers.base import Provider
from lab.state import LabState

PROXY_MODE = "curl -sS --max-time 5 http://127.0.0.1:10249/proxyMode"


def argv(
    state: LabState, provider: Provider, node: str, *command: str, options: Iterable[str] = ()
) -> list[str]:
    """The command line that runs `command` (root's shell, if there is none) on a node, from this host."""
    become = provider.become(node)
    words = [*become, *(command or (("-i",) if become else ()))]
    remote = [shlex.join(words)] if words else []
    return [*provider.operator(), "ssh", "-F", str(state.ssh_config), *options, node, *remote]


def run(
    config: Config,
    state: LabState,
    provider: Provider,
    script: str,
    *,
    timeout: float = 30,
    only: Iterable[str] | None = None,
) -> dict[str, shell.Result]:
    """Run a shell script on every node at once; one that does not answer in time has exit code 124.

    Args:
        config: names the nodes.
        state: the lab's folder.
        provider: knows the way to its machines.
        script: read by `sh` on the node.
        timeout: seconds for each node.
        only: these nodes, else all.
    """
    names = [node.name for node in config.nodes] if only is None else list(only)

    def one(name: str) -> shell.Result:
        words = argv(state, provider, name, "sh", "-s")
        try:
            return shell.run(words, input=script, timeout=timeout, check=False)
        except WaitTimeout as late:
            return shell.Result(tuple(words), 124, "", str(late), timeout)

    with ThreadPoolExecutor(max(1, len(names))) as pool:
        return dict(zip(names, pool.map(one, names), strict=True))


def effective_modes(config: Config, state: LabState, provider: Provider) -> dict[str, str]:
    """The proxy mode that each node's kube-proxy says it runs in, or, in brackets, why it said nothing."""
    modes = {}
    for name, said in run(config, state, provider, PROXY_MODE).items():
        why = (said.stderr.strip().splitlines() or [f"exit {said.returncode}"])[-1]
        modes[name] = said.stdout.strip() if said.ok and said.stdout.strip() else f"({why})"
    return modes


def require_mode(config: Config, state: LabState, provider: Provider) -> None:
    """See that kube-proxy runs in the mode asked for on every node: that is not always so.

    Raises:
        BringUpError: with what each node says, and the last words of the kube-proxies that differ.
    """
    modes = effective_modes(config, state, provider)
    wrong = [name for name, mode in modes.items() if mode != config.proxy.mode]
    if not wrong:
        return
    logs = run(config, state, provider, KUBE_PROXY_LOG, only=wrong)
    details = [f"{name}: {mode}" for name, mode in modes.items()]
    for name, said in logs.items():
        details += [f"kube-proxy on {name}: {line}" for line in shell.tail(said.stdout, 5)]
    raise BringUpError(
        f"kube-proxy was asked for {config.proxy.mode} mode, and on {', '.join(wrong)} it is not in effect.",
        details=details,
    )


KUBE_PROXY_LOG = (
    "cat $(ls -t /var/log/pods/kube-system_kube-proxy-*/kube-proxy/*.log | head -n 1) | tail -n 5"
)
