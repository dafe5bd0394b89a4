"""`lab test`: the conformance suites on a lab, in the mode that is on or in every mode by live switch."""

from __future__ import annotations

from typing import Annotated

import typer

from lab.cli import options
from lab.errors import Exit
from lab.progress import duration, result, result_table


def command(
    context: typer.Context,
    *,
    name: options.Name = None,
    all_modes: Annotated[
        bool, typer.Option("--all-modes", help="In every mode the lab can run, switching it live, and back.")
    ] = False,
    timeout: Annotated[int, typer.Option(min=10, help="Seconds for one run of the suites.")] = 3600,
) -> None:
    """Run the conformance suites; all other arguments are pytest's (`-k dns`, `-x`, `test_dns.py`).

    Results are printed, and kept as JUnit XML. Exit code 1: a test failed.
    """
    from lab import evidence, suites, switch  # noqa: PLC0415 -- brings Ansible, which takes a moment to load

    lab = options.living(name)
    progress = options.progress_of()
    first = lab.config.proxy.mode
    there = lab.provider.proxy_modes()
    # From the mode that is on round to it again, so that each switch is one that has not been seen yet.
    start = there.index(first) if first in there else 0
    modes = [*there[start:], *there[:start]] if all_modes else [first]
    folder = lab.state.new_run("test")
    verdicts = []
    config = lab.config
    for mode in modes:
        if mode != config.proxy.mode:
            switch.to(mode, config=config, state=lab.state, provider=lab.provider, progress=progress)
            config = config.with_mode(mode)
        progress.note(f"Suites in {mode} mode:")
        verdict = suites.run(
            lab.state, lab.provider, mode=mode, args=context.args, folder=folder, timeout=timeout
        )
        verdicts.append(verdict)
        if not verdict.ok:
            # Now: the next mode's rules would be on the nodes later.
            with progress.step("Collecting evidence from every node"):
                into = folder / f"evidence-{mode}"
                evidence.gather(config, lab.state, lab.provider, into)
            progress.note(f"evidence: {into}")
    if config.proxy.mode != first:
        switch.to(first, config=config, state=lab.state, provider=lab.provider, progress=progress)
    result("")
    result_table(
        ("mode", "passed", "failed", "skipped", "time", "results"),
        [
            [v.mode, f"{v.passed}", f"{v.failed}", f"{v.skipped}", duration(v.seconds), str(v.junit)]
            for v in verdicts
        ],
    )
    if not all(verdict.ok for verdict in verdicts):
        raise typer.Exit(int(Exit.TEST_FAILED))
