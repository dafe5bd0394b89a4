"""`lab test`: the conformance suites on a lab, in the mode that is on or in every mode by live switch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from lab.cli import options
from lab.errors import Exit
from lab.progress import duration, result, result_table

if TYPE_CHECKING:
    from pathlib import Path

    from lab.suites import Verdict


def command(
    context: typer.Context,
    *,
    name: options.Name = None,
    all_modes: Annotated[
        bool, typer.Option("--all-modes", help="In every mode the lab can run, switching it live, and back.")
    ] = False,
    matrix: Annotated[
        bool,
        typer.Option(
            "--matrix",
            help="The truth table of client, target and mode, expected and seen: its tests in every mode; "
            "with --all-modes all tests.",
        ),
    ] = False,
    timeout: Annotated[int, typer.Option(min=10, help="Seconds for one run of the suites.")] = 3600,
) -> None:
    """Run the conformance suites; all other arguments are pytest's (`-k dns`, `-x`, `test_dns.py`).

    Results are printed, and kept as JUnit XML, report.json and report.html. Exit code 1: a test failed.
    """
    from lab.report import facts, folder as run, model, page, table  # noqa: I001, PLC0415 -- the same

    lab = options.living(name)
    arguments = [*(["-m", "matrix"] if matrix and not all_modes else []), *context.args]
    folder = lab.state.new_run("test")
    try:
        with run.recorded(folder, facts.gather(lab.config, lab.state, lab.provider, arguments=arguments)):
            verdicts = _in_each_mode(lab, folder, arguments, every=all_modes or matrix, timeout=timeout)
    finally:
        if (folder / page.FILE).is_file():
            options.progress_of().note(f"report: {folder / page.FILE}")
    result("")
    if matrix:
        report = model.Report.model_validate_json((folder / model.FILE).read_text())
        result_table(*table.text(report.truth, report.modes))
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


def _in_each_mode(
    lab: options.Living, folder: Path, arguments: list[str], *, every: bool, timeout: int
) -> list[Verdict]:
    """Run the suites in the mode that is on, or in every one; the lab has its own mode afterwards."""
    from lab import evidence, suites, switch  # noqa: PLC0415 -- brings Ansible, which takes a moment to load

    progress = options.progress_of()
    first = lab.config.proxy.mode
    there = lab.provider.proxy_modes()
    # From the mode that is on round to it again, so that each switch is one that has not been seen yet.
    start = there.index(first) if first in there else 0
    modes = [*there[start:], *there[:start]] if every else [first]
    verdicts = []
    config = lab.config
    for mode in modes:
        if mode != config.proxy.mode:
            switch.to(mode, config=config, state=lab.state, provider=lab.provider, progress=progress)
            config = config.with_mode(mode)
        progress.note(f"Suites in {mode} mode:")
        verdict = suites.run(
            lab.state, lab.provider, mode=mode, args=arguments, folder=folder, timeout=timeout
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
    return verdicts
