"""`lab verify`: EndpointSlices, programmed rules and observed traffic held against each other."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from lab.cli import options
from lab.errors import Exit
from lab.progress import result, result_json


def command(
    *,
    name: options.Name = None,
    kubeconfig: options.Kubeconfig = None,
    image: options.Image = None,
    traffic: Annotated[
        bool | None,
        typer.Option(
            "--traffic/--no-traffic",
            help="Make a few connections from each node to each ClusterIP (default: on a lab only).",
        ),
    ] = None,
    settle: Annotated[
        float | None,
        typer.Option(
            min=0,
            metavar="SECONDS",
            help="How long after the last change a disagreement may be a change in flight "
            "(default: 20; 30 in ipvs mode).",
        ),
    ] = None,
    output: options.OutputOption = options.Output.TEXT,
    quiet: options.Quiet = False,
) -> None:
    """Hold EndpointSlices, programmed rules and traffic against each other, for every Service on every node.

    The first that disagrees is named: Service, node, layer, the rule and what was expected; all of them with
    -o json. Exit code 1: something disagrees.
    """
    from lab.verify.reconcile import reconcile  # noqa: PLC0415 -- the readers take a moment to load
    from lab.verify.report import Report  # noqa: PLC0415
    from lab.verify.traffic import observe  # noqa: PLC0415

    progress = options.progress_of(quiet=quiet)
    begun = time.monotonic()
    with options.reached(name, kubeconfig, image, progress) as reach:
        with progress.step("Reading EndpointSlices and every node's rules"):
            rules = reconcile(reach, settle=settle)
        seen = None
        # Rules that disagree explain their traffic; connections would only say it again.
        if not rules.differences and (reach.is_lab if traffic is None else traffic):
            with progress.step("Connecting from every node"):
                seen = observe(reach, rules.objects, rules.views)
    report = Report(rules, seen, time.monotonic() - begun)
    if output is options.Output.JSON:
        result_json(report.json())
    else:
        for line in report.text():
            result(line)
    if report.differences:
        raise typer.Exit(int(Exit.TEST_FAILED))
