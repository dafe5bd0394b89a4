"""One night from the results of several: the jobs of a CI's matrix, each of which ran `lab nightly`."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from lab.errors import InputError
from lab.nightly.guard import alone
from lab.nightly.night import Night
from lab.nightly.results import FILE, Cell, CellResult, NightResult


def collect(folders: Sequence[Path], night: Night) -> NightResult:
    """Make `night` of every night found in `folders`, without a lab, and tell it.

    Of a cell that was run twice the later one counts.

    Raises:
        BringUpError: a night is being run.
        InputError: there are no results in a folder, or they cannot be read.
    """
    files = {folder: sorted(folder.rglob(FILE)) for folder in folders}
    if empty := [str(folder) for folder, found in files.items() if not found]:
        raise InputError(
            "There are no results to collect.",
            details=[f"no {FILE} in or below {folder}" for folder in empty],
            fix="name folders that lab nightly --output wrote",
        )
    nights = [(NightResult.read(file), file.parent) for found in files.values() for file in found]
    cells: dict[Cell, CellResult] = {}
    with alone(), night.recording() as tell:
        for result, folder in sorted(nights, key=lambda one: one[0].stamp):
            cells |= {one.cell: one for one in result.cells}
            night.result.host |= result.host
            for inside in filter(Path.is_dir, folder.iterdir()):
                shutil.copytree(inside, night.folder / inside.name, dirs_exist_ok=True)
        night.result.cells = sorted(cells.values(), key=lambda one: one.cell)
        tell(any(result.interrupted for result, _ in nights))
    return night.result
