"""`lab test`: the conformance suites on a lab, in the mode that is on or in every mode by live switch.

With `--kubeconfig` on any other cluster, in the mode that it has: `lab.cli.stranger`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lab.cli import options
from lab.errors import Exit, InputError
from lab.progress import duration, result, result_json, result_table

if TYPE_CHECKING:
    from lab.suites import Verdict


def command(
    context: typer.Context,
    *,
    name: options.Name = None,
    kubeconfig: options.Kubeconfig = None,
    image: Annotated[
        str | None,
        typer.Option(
            metavar="IMAGE",
            help="With --kubeconfig: the lab's image `tools`, where its nodes can pull it "
            "(default: as the nodes have it).",
        ),
    ] = None,
    server_image: Annotated[
        str | None,
        typer.Option(
            metavar="IMAGE",
            help="With --kubeconfig: the lab's image `mytest`, where its nodes can pull it "
            "(default: as the nodes have it).",
        ),
    ] = None,
    outside: Annotated[
        bool | None,
        typer.Option(
            "--outside/--no-outside",
            help="With --kubeconfig: whether this machine reaches the nodes' own addresses, to be a client "
            "outside the cluster (default: find out).",
        ),
    ] = None,
    results: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="With --kubeconfig: where the results go (default: a new folder below "
            "./kube-service-lab-results).",
        ),
    ] = None,
    yes: Annotated[
        bool, typer.Option("--yes", help="With --kubeconfig and --disruptive: do not ask before.")
    ] = False,
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
    listed: Annotated[
        bool,
        typer.Option(
            "--list",
            help="Run nothing: print every behaviour with what proves it; -o json: all that is known of it.",
        ),
    ] = False,
    disruptive: Annotated[
        bool,
        typer.Option(
            "--disruptive",
            help="Then also what disturbs the whole cluster: kube-proxy and the API server restarted, … "
            "With --kubeconfig it asks before.",
        ),
    ] = False,
    output: Annotated[
        options.Output, typer.Option("-o", "--output", help="How --list prints.")
    ] = options.Output.TEXT,
    timeout: Annotated[int, typer.Option(min=10, help="Seconds for one run of the suites.")] = 3600,
) -> None:
    """Run the conformance suites; all other arguments are pytest's (`-k dns`, `-x`, `test_dns.py`).

    Results are printed, and kept as JUnit XML, report.json and report.html. Exit code 1: a test failed.
    """
    if listed:
        _list(output)
        return
    from lab import suites  # noqa: PLC0415 -- the same
    from lab.cli import stranger  # noqa: PLC0415 -- the same

    options.either(name, kubeconfig)
    theirs = stranger.Asked(image=image, server_image=server_image, outside=outside, results=results, yes=yes)
    arguments = [*(["-m", "matrix"] if matrix and not all_modes else []), *context.args]
    if kubeconfig is None:
        stranger.refuse(theirs)
        folder, verdicts = _on_lab(
            name, arguments, every=all_modes or matrix, disruptive=disruptive, timeout=timeout
        )
    else:
        if all_modes:
            raise InputError(
                "--all-modes would switch the proxy mode of a cluster that no lab made: its mode stays.",
                fix="lab test --kubeconfig FILE, in the mode that it has",
            )
        folder, verdicts = stranger.run(
            kubeconfig,
            theirs,
            suites.parts(arguments, disruptive=disruptive),
            timeout=timeout,
        )
    _tell(folder, verdicts, matrix=matrix)


def _tell(folder: Path, verdicts: list[Verdict], *, matrix: bool) -> None:
    """Print what the run came to.

    Raises:
        typer.Exit: something failed.
    """
    from lab.report import model, table  # noqa: PLC0415 -- the same

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


def _on_lab(
    name: str | None, arguments: list[str], *, every: bool, disruptive: bool, timeout: int
) -> tuple[Path, list[Verdict]]:
    """Run the suites on a lab; returns where the results are, and what they came to."""
    from lab.report import facts, folder as run, page  # noqa: I001, PLC0415 -- the same

    lab = options.living(name)
    folder = lab.state.new_run("test")
    try:
        with run.recorded(folder, facts.gather(lab.config, lab.state, lab.provider, arguments=arguments)):
            verdicts = _in_each_mode(
                lab, folder, arguments, every=every, disruptive=disruptive, timeout=timeout
            )
    finally:
        if (folder / page.FILE).is_file():
            options.progress_of().note(f"report: {folder / page.FILE}")
    return folder, verdicts


def _list(output: options.Output) -> None:
    """Print the behaviours, from the data and the tests themselves."""
    from lab import behaviours, suites  # noqa: PLC0415 -- the same

    known, proofs = behaviours.load(), suites.proofs()
    tests = {one: [test for test, ids in proofs.items() if one in ids] for one in known}
    if output is options.Output.JSON:
        result_json([{**known[one].model_dump(mode="json"), "tests": tests[one]} for one in known])
        return
    result_table(
        ("behaviour", "conformance", "modes", "disruptive", "tests", "what it says"),
        [
            [
                one.id,
                "yes" if one.conformance else "",
                "all" if set(one.modes) == set(behaviours.MODES) else ", ".join(one.modes),
                "yes" if one.disruptive else "",
                f"{len(tests[one.id])}" if one.covered else "none",
                one.says if one.covered else f"{one.says} (not covered: {one.not_covered})",
            ]
            for one in known.values()
        ],
    )


def _in_each_mode(
    lab: options.Living, folder: Path, arguments: list[str], *, every: bool, disruptive: bool, timeout: int
) -> list[Verdict]:
    """Run the suites in the mode that is on, or in every one; the lab has its own mode afterwards."""
    from lab import suites, switch  # noqa: PLC0415 -- brings Ansible, which takes a moment to load

    progress = options.progress_of()
    first = lab.config.proxy.mode
    there = lab.provider.proxy_modes()
    # From the mode that is on round to it again, so that each switch is one that has not been seen yet.
    start = there.index(first) if first in there else 0
    modes = [*there[start:], *there[:start]] if every else [first]
    parts = suites.parts(arguments, disruptive=disruptive, name=lab.state.name)
    verdicts = []
    config = lab.config
    for mode in modes:
        if mode != config.proxy.mode:
            switch.to(mode, config=config, state=lab.state, provider=lab.provider, progress=progress)
            config = config.with_mode(mode)
        progress.note(f"Suites in {mode} mode:")
        verdicts += [
            suites.run_or_tell(
                config,
                lab.state,
                lab.provider,
                args=args,
                part=part,
                folder=folder,
                timeout=timeout,
                progress=progress,
            )
            for part, args in parts
        ]
    if config.proxy.mode != first:
        switch.to(first, config=config, state=lab.state, provider=lab.provider, progress=progress)
    return verdicts
