"""`lab config`: the file to start from, whether a file is right, and what it may say."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lab import config_file
from lab.cli import options
from lab.config import DEFAULT_FILE, load, schema
from lab.errors import InputError
from lab.progress import result, result_json

app = typer.Typer(no_args_is_help=True)


@app.command("init")
def init(
    file: Annotated[str, typer.Argument(help="The file to write, - for stdout.")] = str(DEFAULT_FILE),
    *,
    force: Annotated[bool, typer.Option("--force", help="Write over a file that is there.")] = False,
) -> None:
    """Write a configuration file with every default."""
    if file == "-":
        result(config_file.TEMPLATE)
        return
    path = Path(file)
    if path.exists() and not force:
        raise InputError(f"{path} is there already.", fix=f"lab config init --force {path}, or another file")
    try:
        path.write_text(config_file.TEMPLATE)
    except OSError as error:
        raise InputError(f"{path} cannot be written.", details=[str(error)]) from error
    result(str(path))


@app.command("validate")
def validate(
    file: Annotated[str | None, typer.Argument(help="The file, - for stdin (default: ./lab.yaml).")] = None,
    *,
    output: options.OutputOption = options.Output.TEXT,
) -> None:
    """Check a configuration file: exit code 2 with every fault there is."""
    if file is None and not DEFAULT_FILE.is_file():
        raise InputError(f"There is no {DEFAULT_FILE} here.", fix="lab config init, or name a file")
    config = load(options.path_of(file))
    if output is options.Output.JSON:
        result_json(config.model_dump(mode="json"))
    else:
        result(f"{file or DEFAULT_FILE}: a lab {config.name!r} of {len(config.nodes)} nodes, no faults")


@app.command("schema")
def print_schema() -> None:
    """Print the JSON schema of the configuration file, for editors."""
    result_json(schema())
