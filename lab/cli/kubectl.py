"""`lab kubectl -- ARGS`: the kubectl of the lab's own version, told of this lab."""

from __future__ import annotations

import os

import typer

from lab import sources
from lab.cli import options
from lab.errors import BringUpError


def command(context: typer.Context, *, name: options.Name = None) -> None:
    """Run kubectl on the lab: `lab kubectl -- get pods -A`."""
    lab = options.living(name)
    if not lab.state.kubeconfig.is_file():
        raise BringUpError(
            f"The lab {lab.state.name!r} has no kubeconfig: it was not brought up whole.", fix="lab up"
        )
    words = [word for place, word in enumerate(context.args) if place > 0 or word != "--"]
    program = str(sources.get(lab.config.source).program(lab.config, "kubectl"))
    os.execve(program, ["kubectl", *words], {**os.environ, "KUBECONFIG": str(lab.state.kubeconfig)})
