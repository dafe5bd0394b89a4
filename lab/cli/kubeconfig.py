"""`lab kubeconfig`: the way to the lab for this host's own tools."""

from __future__ import annotations

from typing import Annotated

import typer

from lab.cli import options
from lab.errors import BringUpError
from lab.progress import result


def command(
    *,
    name: options.Name = None,
    path: Annotated[bool, typer.Option("--path", help="Print where the file is instead.")] = False,
    inside: Annotated[bool, typer.Option("--inside", help="The one for the lab's own LAN.")] = False,
) -> None:
    """Print the lab's kubeconfig: `export KUBECONFIG=$(lab kubeconfig --path)`."""
    lab = options.living(name)
    file = lab.state.kubeconfig_inside if inside else lab.state.kubeconfig
    if not file.is_file():
        raise BringUpError(
            f"The lab {lab.state.name!r} has no kubeconfig: it was not brought up whole.", fix="lab up"
        )
    result(str(file) if path else file.read_text())
