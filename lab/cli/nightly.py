"""`lab nightly`: the whole matrix in one go, as cron runs it: raised, tested, told, taken down."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lab import paths
from lab.cli import options
from lab.config import load
from lab.errors import Exit
from lab.nightly.results import NightResult
from lab.progress import duration, result, result_table


def command(
    context: typer.Context,
    *,
    providers: Annotated[
        list[str] | None,
        typer.Option("--provider", metavar="NAME", help="Again for each (default: all this host can serve)."),
    ] = None,
    kubernetes: Annotated[
        list[str] | None,
        typer.Option(
            "--kubernetes", metavar="VERSION", help="Release or minor, again for each (default: all)."
        ),
    ] = None,
    modes: Annotated[
        list[str] | None,
        typer.Option(
            "--proxy-mode", metavar="MODE", help="Again for each (default: all that can be served)."
        ),
    ] = None,
    matrix_file: Annotated[
        Path | None,
        typer.Option("--matrix", metavar="FILE", help="YAML: providers, kubernetes, modes, exclude."),
    ] = None,
    config_file: options.ConfigFile = None,
    name: Annotated[str, typer.Option("--name", metavar="NAME", help="The name of its labs.")] = "nightly",
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", metavar="DIR", help="All nights' results (default: the user's data folder)."
        ),
    ] = None,
    keep_history: Annotated[
        int, typer.Option("--keep-history", min=1, metavar="DAYS", help="How long results are kept.")
    ] = 90,
    prepare: Annotated[
        str | None,
        typer.Option(
            metavar="COMMAND", help="Run by a shell once each lab is up; knows LAB_NAME, KUBECONFIG."
        ),
    ] = None,
    timeout: Annotated[int, typer.Option(min=10, help="Seconds for one run of the suites.")] = 3600,
    install_missing: Annotated[
        bool, typer.Option("--install-missing", help="As root on Debian: install what is missing.")
    ] = False,
    only_list: Annotated[
        bool, typer.Option("--list", help="Print what would be run, and run nothing.")
    ] = False,
    collect_from: Annotated[
        list[Path] | None,
        typer.Option(
            "--from", metavar="DIR", help="Run nothing: make one night of results in DIR, again for each."
        ),
    ] = None,
    verbose: options.Verbose = False,
    quiet: options.Quiet = False,
) -> None:
    """Test the matrix of providers, Kubernetes versions and proxy modes; all other arguments are pytest's.

    Writes a dated folder of results, the history of all nights and a page over them. Exit code 1: a test
    failed; 3 or 4: a lab could not be brought up or switched, the others were tested all the same.
    """
    from lab import suites  # noqa: PLC0415 -- brings Ansible, which takes a moment to load
    from lab.nightly import collect, matrix  # noqa: PLC0415
    from lab.nightly.night import Night  # noqa: PLC0415

    progress = options.progress_of(verbose=verbose, quiet=quiet)
    night = Night(
        name,
        (output or paths.nights()).absolute(),
        progress,
        keep=keep_history,
        # Nobody waits: more connections find smaller skews. What the user says comes later, and counts.
        args=["--n", "3000", *context.args],
        prepare=prepare,
        timeout=timeout,
    )
    if collect_from:
        came_to = collect.collect(collect_from, night)
    else:
        axes = {"providers": providers or (), "kubernetes": kubernetes or (), "modes": modes or ()}
        wanted = matrix.load(matrix_file, **axes)
        base = load(options.path_of(config_file), {"name": name})
        suites.check(name, night.args)
        if only_list:
            labs = matrix.plan(wanted, base, progress)
            result_table(
                ("provider", "kubernetes", "modes"),
                [[lab.config.provider, lab.config.kubernetes.version, " ".join(lab.modes)] for lab in labs],
            )
            return
        came_to = night.run(lambda: matrix.plan(wanted, base, progress, install_missing=install_missing))
    if not quiet or came_to.exit:
        tell(came_to, night.folder)
    if came_to.exit != Exit.DONE:
        raise typer.Exit(int(came_to.exit))


def tell(came_to: NightResult, folder: Path) -> None:
    """Every cell as a line, and where the rest is."""
    result_table(
        ("provider", "kubernetes", "mode", "passed", "failed", "skipped", "time", "error"),
        [
            [
                *(cell.cell.provider, cell.cell.kubernetes, cell.cell.mode),
                *(str(cell.count(outcome)) for outcome in ("passed", "failed", "skipped")),
                duration(cell.seconds),
                cell.error.partition("\n")[0],
            ]
            for cell in came_to.cells
        ],
    )
    result(f"\nresults: {folder}\npage: {folder.parent / 'index.html'}")
