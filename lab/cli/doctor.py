"""`lab doctor`: whether this host can run a lab."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from lab import checks, host, providers, sources
from lab.cli import options
from lab.config import load
from lab.errors import Exit
from lab.progress import result, result_json, result_table
from lab.state import LabState


def command(
    *,
    name: options.Name = None,
    config_file: options.ConfigFile = None,
    provider: options.ProviderOption = None,
    proxy_mode: options.ModeOption = None,
    install: Annotated[
        bool, typer.Option("--install", help="As root on Debian: install what is missing.")
    ] = False,
    output: options.OutputOption = options.Output.TEXT,
    verbose: options.Verbose = False,
) -> None:
    """Look at everything a lab needs of this host; exit code 5 when something is missing."""
    overrides = {"name": name, "provider": provider, "proxy.mode": proxy_mode}
    config = load(options.path_of(config_file), overrides)
    state = LabState(config.name)
    machines, source = providers.get(config, state), sources.get(config.source)
    progress = options.progress_of(verbose=verbose)
    found = checks.everything(config, state, machines, source)
    if install and (names := checks.missing_packages(found)):
        host.install(names, progress)
        found = checks.everything(config, state, machines, source)
    found += list(checks.kernel())
    if output is options.Output.JSON:
        result_json([asdict(check) for check in found])
    else:
        marks = {
            (True, True): "ok",
            (True, False): "ok",
            (False, True): "MISSING",
            (False, False): "optional",
        }
        result_table(
            ("", "what", "found"),
            [[marks[check.ok, check.needed], check.name, check.found] for check in found],
        )
        names = checks.missing_packages(found)
        if names:
            result(
                f"\nTo install what is missing:\n  {host.install_command(names)}\nor: lab doctor --install"
            )
    if any(check.needed and not check.ok for check in found):
        raise typer.Exit(int(Exit.PREREQUISITE_MISSING))
