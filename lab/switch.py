"""Switching a living lab to another proxy mode: done when every node serves by it alone."""

from __future__ import annotations

from lab import ansible, kubeconfig, nodes
from lab.config import PROXY_MODES, Config
from lab.config_cross import nearest
from lab.errors import InputError, PrerequisiteError
from lab.progress import Progress
from lab.providers.base import Provider
from lab.state import LabState


def to(
    mode: str, *, config: Config, state: LabState, provider: Provider, progress: Progress, timeout: int = 300
) -> ansible.Run:
    """Switch a lab; its configuration says the new mode only once that is in effect.

    Args:
        mode: the new mode; the one that is on changes nothing.
        config: the lab as it is.
        state: the lab's folder.
        provider: knows which modes its machines' kernel can serve.
        progress: is shown every task.
        timeout: seconds.

    Raises:
        InputError: there is no such mode.
        PrerequisiteError: the nodes' kernel cannot serve it.
        BringUpError: the switch failed; `lab proxy-mode` says what is in effect now.
        WaitTimeout: a node did not follow in time.
    """
    if mode not in PROXY_MODES:
        raise InputError(f"{mode!r} is no proxy mode{nearest(mode, PROXY_MODES)}.")
    there = provider.proxy_modes()
    if mode not in there:
        raise PrerequisiteError(
            f"The nodes of {state.name!r} cannot serve {mode} mode.",
            details=[f"the kernel of provider {config.provider}'s nodes serves {', '.join(there)}"],
            fix="a lab of provider uml serves every mode",
        )
    wanted = config.with_mode(mode)
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
