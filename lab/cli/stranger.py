"""`lab test --kubeconfig`: the suites on a cluster that no lab made, disturbed only after a question."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from lab.cli import options
from lab.errors import InputError
from lab.progress import Progress

if TYPE_CHECKING:
    from lab.reach.given import Given
    from lab.reach.stranger import Stranger
    from lab.suites import Part, Verdict


@dataclass(frozen=True)
class Asked:
    """The options that are about such a cluster alone, as the user gave them."""

    image: str | None
    server_image: str | None
    outside: bool | None
    results: Path | None
    yes: bool


def refuse(asked: Asked) -> None:
    """See that a lab is not tested with any of these options.

    Raises:
        InputError: it is.
    """
    given = [one.name for one in fields(asked) if getattr(asked, one.name) not in (None, False)]
    if asked.outside is False:
        given.append("no_outside")
    if given:
        flags = ", ".join("--" + name.replace("_", "-") for name in given)
        raise InputError(f"{flags}: for a cluster named by --kubeconfig; a lab needs none of it.")


def run(kubeconfig: Path, asked: Asked, parts: list[Part], *, timeout: int) -> tuple[Path, list[Verdict]]:
    """Run the suites; returns where the results are, and what they came to. Nothing stays in the cluster."""
    from lab import any_cluster  # noqa: PLC0415 -- brings much that takes a moment to load
    from lab.reach.stranger import Stranger, own_kubectl  # noqa: PLC0415 -- the same

    progress = options.progress_of()
    life = any_cluster.life(timeout, len(parts))
    reach = Stranger(kubeconfig, image=asked.image, kubectl=own_kubectl(), life=life)
    name, server = any_cluster.cluster_of(reach)
    disruptive = [args for part, args in parts if part]
    for args in disruptive:
        agree(f"{name} ({server})", args, yes=asked.yes)
    with present(reach, progress):
        given = any_cluster.given(
            reach,
            name=name,
            server_image=asked.server_image,
            outside=asked.outside,
            disruptive=bool(disruptive),
            progress=progress,
        )
        if given.not_outside:
            progress.note(f"No client outside the cluster: {given.not_outside}.")
        folder = any_cluster.results_folder(asked.results)
        return folder, _recorded(reach, given, folder, parts, timeout=timeout, progress=progress)


@contextmanager
def present(reach: Stranger, progress: Progress) -> Iterator[None]:
    """The pods on the nodes, for as long as the suites run; afterwards all that the run made is gone."""

    def leave() -> None:
        if reach.pods:  # else it has left already, or never come
            with progress.step("Removing what the run made"):
                reach.__exit__()

    with ExitStack() as stack:
        stack.callback(leave)
        with progress.step("Starting a pod on every node"):
            reach.__enter__()
        yield


def _recorded(
    reach: Stranger, given: Given, folder: Path, parts: list[Part], *, timeout: int, progress: Progress
) -> list[Verdict]:
    from lab import suites  # noqa: PLC0415 -- the same
    from lab.reach.given import FILE  # noqa: PLC0415 -- the same
    from lab.report import facts, page  # noqa: PLC0415 -- the same
    from lab.report import folder as record  # noqa: PLC0415 -- the same

    place = suites.Place(("--given", str(given.write(folder / FILE))))
    mode = given.survey.mode
    told = facts.gather_any(reach, given.survey, given.kubeconfig, arguments=parts[0][1])
    try:
        with record.recorded(folder, told):
            progress.note(f"Suites in {mode} mode:")
            return [
                suites.run_at(place, mode=mode, args=args, folder=folder, part=part, timeout=timeout)
                for part, args in parts
            ]
    finally:
        if (folder / page.FILE).is_file():
            progress.note(f"report: {folder / page.FILE}")


def agree(cluster: str, args: list[str], *, yes: bool) -> None:
    """Ask before these tests disturb a cluster, naming what they do.

    Raises:
        InputError: nobody can be asked, or the answer is no.
    """
    from lab import behaviours, suites  # noqa: PLC0415 -- the same

    proved = {one for ids in suites.proofs(args).values() for one in ids}
    known = behaviours.load()
    what = [f"{one.id}: {one.says}" for one in known.values() if one.id in proved]
    if yes:
        return
    if not sys.stdin.isatty():
        raise InputError(
            f"These tests disturb all of {cluster}, and there is nobody to ask whether they may.",
            details=what,
            fix="say yes on the command line: --yes",
        )
    lines = "\n".join(f"  - {line}" for line in what)
    if not typer.confirm(f"These tests disturb all of {cluster}:\n{lines}\nRun them?", err=True):
        raise InputError("No was the answer; nothing was touched.")
