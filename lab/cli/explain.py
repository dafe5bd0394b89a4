"""`lab explain SERVICE`: from its addresses down to the pods, rule by rule, as programmed on a node."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lab.cli import options
from lab.errors import InputError
from lab.progress import result_json, result_styled
from lab.state import write_text


def command(
    service: Annotated[str, typer.Argument(help="The Service: NAME, or NAMESPACE/NAME.")],
    *,
    namespace: Annotated[
        str, typer.Option("-n", "--namespace", metavar="NAME", help="The Service's namespace.")
    ] = "default",
    node: Annotated[
        str | None,
        typer.Option("--node", metavar="NODE", help="Whose rules (default: the client's node, else a node)."),
    ] = None,
    client: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="CLIENT",
            help="Who connects: a node, `pod NAME` (or pod/NAMESPACE/NAME), `outside`, or an IPv4 address "
            "(default: a process and a pod on the node, and outside).",
        ),
    ] = None,
    port: Annotated[
        str | None, typer.Option("--port", metavar="PORT", help="One port only, by name or number.")
    ] = None,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write it as a page with a picture instead.")
    ] = None,
    name: options.Name = None,
    kubeconfig: options.Kubeconfig = None,
    image: options.Image = None,
    output: options.OutputOption = options.Output.TEXT,
    quiet: options.Quiet = False,
) -> None:
    """Walk from a Service's addresses down to its pods, rule by rule, as programmed on one node.

    Each rule is told in plain words, with its counters and the share of each client's new connections that
    it takes; then what becomes of each client.
    """
    from lab.explain import page, terminal  # noqa: PLC0415 -- the readers take a moment to load
    from lab.explain.look import look  # noqa: PLC0415

    if html is not None and not html.absolute().parent.is_dir():
        raise InputError(f"There is no folder {str(html.absolute().parent)!r} to write the page to.")
    progress = options.progress_of(quiet=quiet)
    with (
        options.reached(name, kubeconfig, image, progress) as reach,
        progress.step("Reading the rules"),
    ):
        told = look(reach, service, namespace=namespace, node=node, client=client, port=port)
    if html is not None:
        write_text(html, page.render(told))
        progress.note(f"{html} has it.")
    elif output is options.Output.JSON:
        result_json(told.json())
    else:
        result_styled(terminal.lines(told))
