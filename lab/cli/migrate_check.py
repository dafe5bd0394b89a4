"""`lab migrate-check FROM TO`: what changes for the user's workloads from one proxy mode to another."""

from __future__ import annotations

from typing import Annotated

import typer

from lab.cli import completion, options
from lab.errors import Exit
from lab.progress import result_json, result_styled


def command(
    context: typer.Context,
    before: Annotated[
        str,
        typer.Argument(metavar="FROM", help="The mode to go from.", autocompletion=completion.proxy_modes),
    ],
    after: Annotated[
        str,
        typer.Argument(metavar="TO", help="The mode to go to.", autocompletion=completion.proxy_modes),
    ],
    *,
    name: options.Name = None,
    stay: Annotated[bool, typer.Option("--stay", help="Leave the lab in TO mode afterwards.")] = False,
    timeout: Annotated[int, typer.Option(min=10, help="Seconds for one run of the suites.")] = 3600,
    output: options.OutputOption = options.Output.TEXT,
    verbose: Annotated[
        bool, typer.Option("-v", "--verbose", help="Show every task, and what pytest prints.")
    ] = False,
    quiet: options.Quiet = False,
) -> None:
    """Run the conformance suites before and after a live switch, and say what changes for your workloads.

    All other arguments, after the modes, are pytest's: `-m "matrix or facts"` measures what differs in a few
    minutes. Each difference that is told was seen on this lab. Afterwards it goes back to the mode it was in.
    Exit code 1: something differs that is not declared, or a test failed.
    """
    from lab.migrate.check import Check  # noqa: PLC0415 -- brings Ansible, which takes a moment to load
    from lab.migrate.text import lines  # noqa: PLC0415 -- the same

    lab = options.living(name)
    as_json = output is options.Output.JSON
    found = Check(
        lab.config,
        lab.state,
        lab.provider,
        options.progress_of(verbose=verbose, quiet=quiet),
        before,
        after,
        args=context.args,
        timeout=timeout,
        stay=stay,
        shown=verbose and not as_json,
    ).run()
    if as_json:
        result_json(found.model_dump(mode="json"))
    else:
        result_styled(lines(found))
    if not found.ok:
        raise typer.Exit(int(Exit.TEST_FAILED))
