"""`lab up`: bring a lab up, or see that it is up."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Annotated

import typer

from lab import kubeconfig
from lab.cli import options
from lab.config import DEFAULT_FILE, Config, from_values, load
from lab.config_file import overridden
from lab.progress import duration, result, result_table
from lab.state import LabState


def command(
    *,
    name: options.Name = None,
    config_file: options.ConfigFile = None,
    provider: options.ProviderOption = None,
    proxy_mode: options.ModeOption = None,
    addon: options.AddonOption = None,
    timeout: Annotated[
        int | None,
        typer.Option(
            min=10,
            help="Seconds for forming the cluster, once its machines run (default: what kubernetes.*_timeout "
            "add up to, 900).",
        ),
    ] = None,
    install_missing: Annotated[
        bool, typer.Option("--install-missing", help="As root on Debian: install what is missing.")
    ] = False,
    adopt: Annotated[
        bool,
        typer.Option("--adopt", help="Provider ssh: remove a Kubernetes that is on the machines already."),
    ] = False,
    verbose: options.Verbose = False,
    quiet: options.Quiet = False,
) -> None:
    """Bring a lab up: build what is missing, raise the machines, form the cluster, deploy mytest.

    On a lab that is up it changes nothing and says so.
    """
    from lab import bring_up  # noqa: PLC0415 -- brings Ansible, which takes a moment to load

    overrides: dict[str, object] = {"name": name, "provider": provider, "proxy.mode": proxy_mode}
    overrides |= {f"addons.{one}": {} for one in addon or ()}
    config = asked_for(config_file, overrides)
    progress = options.progress_of(verbose=verbose, quiet=quiet)
    run = bring_up.up(config, progress, install_missing=install_missing, adopt=adopt, timeout=timeout)
    progress.note(
        f"\nThe lab {config.name!r} is up in {config.proxy.mode} mode ({duration(progress.elapsed)}). "
        + (f"Changed: {', '.join(run.changes)}." if run.changes else "Nothing had to be changed.")
    )
    summary(config, run.state, run.ports)


def asked_for(config_file: str | None, overrides: Mapping[str, object]) -> Config:
    """The configuration that is asked for: what is not said of a lab that is there stays as it is there."""
    config = load(options.path_of(config_file), overrides)
    if config_file is None and not DEFAULT_FILE.is_file():
        there = LabState(config.name).read_config()
        if there is not None:
            return from_values(overridden(there.model_dump(mode="json"), overrides))
    return config


def summary(config: Config, state: LabState, ports: dict[str, int]) -> None:
    """Where to go next: the nodes, the kubeconfig, three commands to try."""
    from lab.cluster import Cluster  # noqa: PLC0415 -- brings the API's client, which takes a moment to load

    cluster = Cluster(state)
    there = cluster.nodes()
    rows = []
    for node in config.nodes:
        seen = there.get(node.name)
        role = "control plane" if node == config.master else "node"
        status = "Ready" if seen and seen.ready else "NotReady"
        rows.append(
            [node.name, role, str(node.address), status, seen.version if seen else "", config.proxy.mode]
        )
    result_table(["name", "role", "address", "status", "version", "proxy mode"], rows)
    which = [] if config.name == Config().name else ["--name", config.name]
    service = cluster.cluster_ip("mytest-svc") or "CLUSTER-IP"
    worker = (config.workers or config.nodes)[0].name
    lines = ["", f"kubeconfig: {state.kubeconfig}   (context {kubeconfig.context_name(state)})"]
    if "api" in ports:
        lines.append(f"API server: https://127.0.0.1:{ports['api']}")
    lines += [
        f"NodePort {port}: http://127.0.0.1:{here} once a Service has it"
        for port, here in ports.items()
        if port != "api"
    ]
    lines += ["", "Try:"]
    lines += [
        "  " + shlex.join(["lab", *words])
        for words in (
            ["kubectl", *which, "--", "get", "nodes,pods,services", "-A", "-o", "wide"],
            ["exec", *which, worker, "--", "curl", "-s", f"http://{service}"],
            ["test", *which],
        )
    ]
    result("\n".join(lines))
