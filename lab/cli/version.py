"""`lab --version`."""

from __future__ import annotations

from typing import Annotated

import typer

from lab import __version__
from lab.progress import result


def options(
    *,
    version: Annotated[bool, typer.Option("--version", is_eager=True, help="Print the version.")] = False,
) -> None:
    """A real three-node kubeadm cluster, and proof on every node that a Service does what it promises."""
    if version:
        result(f"lab {__version__}")
        raise typer.Exit
