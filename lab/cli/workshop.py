"""`lab workshop`: labs for a class, one a student, side by side on this host."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from lab.cli import completion, options
from lab.config import Config, from_values, load
from lab.config_file import overridden
from lab.errors import InputError
from lab.progress import duration, result, result_json, result_table

app = typer.Typer(no_args_is_help=True)
Name = Annotated[
    str,
    typer.Option(
        "--name",
        metavar="NAME",
        help="The workshop's name; its labs are NAME-STUDENT.",
        autocompletion=completion.workshops,
    ),
]
DEFAULT = "ws"


@app.command("up")
def up(
    *,
    students: Annotated[
        str | None,
        typer.Option("--students", metavar="N|FILE", help="How many, or a file of names, one a line."),
    ] = None,
    name: Name = DEFAULT,
    config_file: options.ConfigFile = None,
    provider: options.ProviderOption = None,
    proxy_mode: options.ModeOption = None,
    memory: Annotated[
        int | None,
        typer.Option("--memory", min=1024, help="MiB for each machine (default: 1152); beats the file."),
    ] = None,
    parallel: Annotated[
        int | None,
        typer.Option(
            "--parallel", min=1, help="So many labs are raised at a time (default: one for two processors)."
        ),
    ] = None,
    install_missing: Annotated[
        bool, typer.Option("--install-missing", help="As root on Debian: install what is missing.")
    ] = False,
    verbose: options.Verbose = False,
    quiet: options.Quiet = False,
) -> None:
    """Raise a lab for every student; run again, it mends only what is missing.

    Every lab has the same addresses, in a namespace of its own, and ports of its own on 127.0.0.1.
    """
    from lab.workshop import crew, labs, run  # noqa: PLC0415 -- bring what they need

    there = labs.Workshop.load(name)
    if students is None and there is None:
        raise InputError(
            f"There is no workshop {name!r} yet: how many students?", fix="lab workshop up --students 4"
        )
    overrides = {"provider": provider, "proxy.mode": proxy_mode, "machine.memory": memory}
    config = _asked_for(name, there.config if there else None, config_file, overrides, labs.MEMORY)
    wanted = labs.students(students, name) if students is not None else ()
    workshop = run.plan(name, wanted, config)
    progress = options.progress_of(verbose=verbose, quiet=quiet)
    run.up(workshop, progress, parallel=parallel or crew.at_once(), install_missing=install_missing)
    progress.note(f"\nThe workshop {name!r} is up ({duration(progress.elapsed)}).")
    _print(run.status(workshop))
    one = workshop.lab(workshop.students[0]).name
    result(f"\nA student's way in: the handout, or: export KUBE_SERVICE_LAB_NAME={one}; lab shell node01")


@app.command("status")
def status(*, name: Name = DEFAULT, output: options.OutputOption = options.Output.TEXT) -> None:
    """Show every student's lab: its nodes, mode, ports, and the memory it really uses."""
    from lab.workshop import run  # noqa: PLC0415

    found = run.status(run.find(name))
    if output is options.Output.JSON:
        result_json(found)
    else:
        _print(found)


@app.command("reset")
def reset(
    student: Annotated[
        str, typer.Argument(help="The student, or the lab.", autocompletion=completion.students)
    ],
    *,
    name: Name = DEFAULT,
    verbose: options.Verbose = False,
    quiet: options.Quiet = False,
) -> None:
    """Give one student a fresh lab, whatever became of the old one; the others are not touched."""
    from lab.workshop import run  # noqa: PLC0415

    workshop = run.find(name)
    who = workshop.member(student)
    progress = options.progress_of(verbose=verbose, quiet=quiet)
    run.reset(workshop, who, progress)
    progress.note(f"The lab {workshop.lab(who).name!r} is fresh ({duration(progress.elapsed)}).")
    result(str(workshop.handout(who)))


@app.command("down")
def down(*, name: Name = DEFAULT, verbose: options.Verbose = False, quiet: options.Quiet = False) -> None:
    """Take every lab of the workshop down, and leave nothing behind."""
    from lab.workshop import labs, run  # noqa: PLC0415

    progress = options.progress_of(verbose=verbose, quiet=quiet)
    workshop = labs.Workshop.load(name)
    if workshop is None:
        progress.note(f"There is no workshop {name!r}; nothing to take down.")
        return
    run.down(workshop, progress)
    progress.note(f"The workshop {name!r} is gone.")


def _asked_for(
    name: str, there: Config | None, file: str | None, overrides: Mapping[str, object], memory: int
) -> Config:
    """The settings asked for: what is not said of a workshop that is there stays as it is there."""
    if there is not None and file is None:
        return from_values(overridden(there.model_dump(mode="json"), overrides))
    kept = there.machine.memory if there else memory
    asked = {**overrides, "machine.memory": overrides["machine.memory"] or kept, "name": name}
    return load(options.path_of(file), asked)


def _print(found: list[dict[str, Any]]) -> None:
    columns = ("student", "lab", "machines", "ready", "proxy_mode", "memory", "ports")
    rows = []
    for one in found:
        memory = f"{one['memory']} MiB" if one["memory"] is not None else ""
        ports = " ".join(f"{port}→{here}" for port, here in one["ports"].items())
        rows.append([*(str(one[column] or "") for column in columns[:5]), memory, ports])
    used = [one["memory"] for one in found if one["memory"] is not None]
    if used:
        rows.append(["all", "", "", "", "", f"{sum(used)} MiB", ""])
    result_table(columns, rows)
    for one in found:
        if one["problem"]:
            result(f"{one['student']}: {one['problem']}")
    pages = [one["handout"] for one in found if one["handout"]]
    if pages:
        result("\nhandouts:")
        for page in pages:
            result(f"  {page}")
