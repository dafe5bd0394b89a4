"""`lab proxy-mode [MODE]`: the proxy mode in effect on each node, or the switch to another."""

from __future__ import annotations

from typing import Annotated

import typer

from lab import nodes
from lab.cli import completion, options
from lab.progress import duration, result_json, result_table


def command(
    mode: Annotated[
        str | None,
        typer.Argument(
            help="The mode to switch to: iptables, ipvs or nftables.", autocompletion=completion.proxy_modes
        ),
    ] = None,
    *,
    name: options.Name = None,
    timeout: Annotated[
        int | None,
        typer.Option(
            min=10,
            help="Seconds for the switch.",
            show_default="the lab's kubernetes.settle_timeout and 120: 300",
        ),
    ] = None,
    output: options.OutputOption = options.Output.TEXT,
    verbose: options.Verbose = False,
    quiet: options.Quiet = False,
) -> None:
    """Show the proxy mode that is in effect on every node, or switch the living lab to MODE.

    A switch is done when every node serves by the new mode and nothing of the old one is left.
    """
    from lab import switch  # noqa: PLC0415 -- brings Ansible, which takes a moment to load

    lab = options.living(name)
    config = lab.config
    if mode is not None:
        progress = options.progress_of(verbose=verbose, quiet=quiet)
        run = switch.to(
            mode, config=config, state=lab.state, provider=lab.provider, progress=progress, timeout=timeout
        )
        changed = f"switched from {config.proxy.mode}" if config.proxy.mode != mode else "it was before, too"
        if run.total_changed == 0:
            changed = "nothing had to be changed"
        for left in switch.told(switch.removed(run)):
            progress.note(f"kube-proxy left of other modes, and this removed: {left}")
        progress.note(f"The lab {config.name!r} is in {mode} mode ({changed}; {duration(progress.elapsed)}).")
        modes = dict.fromkeys((node.name for node in config.nodes), mode)
    else:
        modes = nodes.effective_modes(config, lab.state, lab.provider)
    if output is options.Output.JSON:
        result_json(modes)
    else:
        result_table(("node", "proxy mode"), [list(item) for item in modes.items()])
