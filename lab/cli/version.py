"""`lab --version`."""

from __future__ import annotations

from typing import Annotated

import typer

from lab import __version__
from lab.progress import result


def _show(wanted: bool) -> None:
    if wanted:
        result(f"lab {__version__}")
        raise typer.Exit


def options(
    *,
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_show, help="Print the version.")
    ] = False,
) -> None:
    """A real three-node kubeadm cluster, and proof on every node that a Service does what it promises."""
    del version
