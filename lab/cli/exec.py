"""`lab exec NODE -- COMMAND`: a command on a node, or from outside the cluster."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from lab import nodes
from lab.cli import completion, options
from lab.errors import InputError

OUTSIDE = "outside"


def command(
    context: typer.Context,
    node: Annotated[
        str,
        typer.Argument(
            help=f"The node; `{OUTSIDE}`: the operator's place on the lab's LAN.",
            autocompletion=completion.places,
        ),
    ],
    *,
    name: options.Name = None,
) -> None:
    """Run a command on a node, as root: its output, its exit code. `lab exec node01 -- ip route`."""
    lab = options.living(name)
    words = [word for place, word in enumerate(context.args) if place > 0 or word != "--"]
    if not words:
        raise InputError("There is no command to run.", fix=f"lab exec {node} -- hostname")
    if node == OUTSIDE:
        argv = [*lab.provider.operator(), *words]
    else:
        terminal = ["-t"] if sys.stdin.isatty() and sys.stdout.isatty() else []
        argv = nodes.argv(lab.state, lab.provider, lab.config.node(node).name, *words, options=terminal)
    os.execvp(argv[0], argv)
