"""`lab report`: the report of a run of `lab test`, made again of what the run wrote while it ran."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lab.cli import options
from lab.errors import InputError
from lab.progress import result


def command(
    run_dir: Annotated[
        Path | None, typer.Argument(metavar="RUN_DIR", help="A run's folder (default: the lab's last run).")
    ] = None,
    *,
    name: options.Name = None,
    open_page: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
    schema: Annotated[
        bool, typer.Option("--schema", help="Print the JSON schema of report.json, and do no more.")
    ] = False,
    output: options.OutputOption = options.Output.TEXT,
) -> None:
    """Make report.html and report.json of a run's results.jsonl, and print where the page is.

    Also of a run that was killed: what it had written by then is told. `-o json` prints report.json.
    """
    from lab.report import folder, model, page  # noqa: PLC0415 -- loaded when used

    if schema:
        result(folder.schema())
        return
    run = run_dir or _last(options.name_of(name))
    report = folder.write(run)
    if output is options.Output.JSON:
        result((run / model.FILE).read_text())
    else:
        result(str(run / page.FILE))
    if not report.complete:
        options.progress_of().warn("This run did not come to its end; the report is of what it wrote.")
    if open_page:
        typer.launch(str(run / page.FILE))


def _last(name: str) -> Path:
    """The newest run of `lab test` or `lab migrate-check` that has results.

    Raises:
        InputError: there is none.
    """
    from lab.report import results  # noqa: PLC0415 -- the same
    from lab.state import LabState  # noqa: PLC0415 -- the same

    runs = LabState(name).runs_dir
    folders = [*runs.glob("*-test*"), *runs.glob("*-migrate-check*")]
    found = [folder / results.FILE for folder in folders if (folder / results.FILE).is_file()]
    if not found:
        raise InputError(
            f"The lab {name!r} has no run to report.",
            details=[f"runs: {runs}"],
            fix=f"lab test --name {name}",
        )
    return max(found, key=lambda file: file.stat().st_mtime).parent
