"""`lab shell NODE`: a shell on a node."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from lab import nodes
from lab.cli import completion, options


def command(
    node: Annotated[
        str | None, typer.Argument(help="The node (default: the master).", autocompletion=completion.nodes)
    ] = None,
    *,
    name: options.Name = None,
) -> None:
    """Open a shell on a node, as root."""
    lab = options.living(name)
    there = lab.config.master if node is None else lab.config.node(node)
    argv = nodes.argv(lab.state, lab.provider, there.name, options=["-t"])
    os.execvp(argv[0], argv)
