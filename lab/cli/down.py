"""`lab down`: take a lab down and leave nothing behind."""

from __future__ import annotations

from typing import Annotated

import typer

from lab import take_down
from lab.cli import options
from lab.state import LabState


def command(
    *,
    name: options.Name = None,
    everything: Annotated[bool, typer.Option("--all", help="Take every lab of this user down.")] = False,
    forget: Annotated[
        bool,
        typer.Option("--forget", help="Provider ssh: leave machines that do not answer as they are."),
    ] = False,
    verbose: options.Verbose = False,
    quiet: options.Quiet = False,
) -> None:
    """Take a lab down: no process, namespace, mount or file of it is left. Works on half-made labs too."""
    progress = options.progress_of(verbose=verbose, quiet=quiet)
    labs = LabState.all() if everything else [LabState(options.name_of(name))]
    for state in labs:
        if take_down.down(state, progress, forget=forget):
            progress.note(f"The lab {state.name!r} is gone.")
        else:
            progress.note(f"There is no lab {state.name!r}; nothing to take down.")
    if not labs:
        progress.note("There is no lab; nothing to take down.")
