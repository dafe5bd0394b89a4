"""Switching a living lab to another proxy mode: done when every node serves by it alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from lab import ansible, kubeconfig, nodes
from lab.config import PROXY_MODES, Config
from lab.config_cross import nearest
from lab.errors import InputError, PrerequisiteError
from lab.progress import Progress
from lab.providers.base import Provider
from lab.state import LabState

SETTLE = "Wait until kube-proxy works as asked, and remove what other modes left"
"""The task that prints a line for each thing removed (`playbooks/roles/kube_proxy/tasks/settle.yml`)."""


def to(
    mode: str,
    *,
    config: Config,
    state: LabState,
    provider: Provider,
    progress: Progress,
    timeout: int | None = None,
) -> ansible.Run:
    """Switch a lab; its configuration says the new mode only once that is in effect.

    Args:
        mode: the new mode; the one that is on changes nothing.
        config: the lab as it is.
        state: the lab's folder.
        provider: knows which modes its machines' kernel can serve.
        progress: is shown every task.
        timeout: seconds; None: those of `kubernetes.settle_timeout`, and 120 for all the rest.

    Raises:
        InputError: there is no such mode.
        PrerequisiteError: the nodes' kernel cannot serve it.
        BringUpError: the switch failed; `lab proxy-mode` says what is in effect now.
        WaitTimeout: a node did not follow in time.
    """
    check(mode, config=config, provider=provider)
    wanted = config.with_mode(mode)
    timeout = timeout or config.kubernetes.settle_timeout + 120
    with state.lock(verb="lab proxy-mode"), progress.step(f"Switching {state.name} to {mode}"):
        run = ansible.run_playbook(
            "proxy_mode",
            config=wanted,
            state=state,
            provider=provider,
            # Nothing of the source: a lab may be older than what its checkout would build now.
            extravars={"fetch_dir": str(kubeconfig.fetched(state))},
            progress=progress,
            folder=state.new_run(f"proxy-mode-{mode}"),
            timeout=timeout,
            idle_timeout=timeout,
        )
        nodes.require_mode(wanted, state, provider)
        state.write_config(wanted)
    return run


def check(mode: str, *, config: Config, provider: Provider) -> None:
    """See that a lab could be switched to a mode; touches nothing.

    Raises:
        InputError: there is no such mode.
        PrerequisiteError: the nodes' kernel cannot serve it.
    """
    if mode not in PROXY_MODES:
        raise InputError(f"{mode!r} is no proxy mode{nearest(mode, PROXY_MODES)}.")
    there = provider.proxy_modes()
    if mode not in there:
        raise PrerequisiteError(
            f"The nodes of {config.name!r} cannot serve {mode} mode.",
            details=[f"the kernel of provider {config.provider}'s nodes serves {', '.join(there)}"],
            fix="a lab of provider uml serves every mode",
        )


def removed(run: ansible.Run) -> dict[str, tuple[str, ...]]:
    """Node to what kube-proxy had left of other modes and the switch removed; only nodes that had some."""
    # Of a role's task some versions of Ansible tell the role, too.
    hosts = (those for task, those in run.printed.items() if task.endswith(SETTLE))
    return dict(next(hosts, {}))


def in_words(things: Iterable[str]) -> str:
    """What was removed in one line, of which there are many counted.

    >>> in_words(["6 virtual servers", "ipset KUBE-A", "ipset KUBE-B", "iptables chain KUBE-C in nat"])
    '6 virtual servers, 2 ipsets, 1 iptables chain'
    """
    found: dict[str, int] = {}
    for thing in things:
        kind = next(
            (kind for kind in ("ipset", "iptables chain", "ip6tables chain") if thing.startswith(kind)), ""
        )
        found[kind or thing] = found.get(kind or thing, 0) + bool(kind)
    return ", ".join(
        f"{count} {kind}{'s' if count > 1 else ''}" if count else kind for kind, count in found.items()
    )


def told(things: Mapping[str, Iterable[str]]) -> list[str]:
    """What was removed, a line for the nodes of which it was the same."""
    alike: dict[str, list[str]] = {}
    for node, those in things.items():
        alike.setdefault(in_words(those), []).append(node)
    return [f"{', '.join(names)}: {what}" for what, names in alike.items()]
