"""The set of labs that a workshop is, and its record on this host."""

from __future__ import annotations

import contextlib
import shutil
from dataclasses import dataclass
from pathlib import Path

from lab import paths
from lab.config import NAME_LENGTH, Config, from_values
from lab.config_cross import nearest
from lab.errors import InputError, LabError
from lab.state import LabState, read_json, write_json

FOLDER = ".workshops"  # beside the labs; a lab's name has no dot
MEMORY = 1152
"""MiB for each machine: four labs of three fit in 16 GB, even if each machine fills its own."""


@dataclass(frozen=True)
class Workshop:
    """Labs `NAME-STUDENT`, all alike. Making the object touches nothing.

    Args:
        name: the workshop's.
        students: their names, each a part of a lab's name.
        config: what each lab is raised with; its name is that of the workshop.
    """

    name: str
    students: tuple[str, ...]
    config: Config

    @property
    def folder(self) -> Path:
        """The workshop's own folder: its record, each student's handout and the last log of each lab."""
        return _folder(self.name)

    def lab(self, student: str) -> LabState:
        """The lab of a student."""
        return LabState(f"{self.name}-{student}")

    def config_of(self, student: str) -> Config:
        """The configuration of a student's lab."""
        return self.config.model_copy(update={"name": self.lab(student).name})

    def log(self, student: str) -> Path:
        """What the last command on a student's lab said."""
        return self.folder / student / "last.log"

    def handout(self, student: str) -> Path:
        """The student's page."""
        return self.folder / student / "index.html"

    def member(self, name: str) -> str:
        """The student of that name, or whose lab has it.

        Raises:
            InputError: there is none.
        """
        student = name.removeprefix(f"{self.name}-")
        if student not in self.students:
            raise InputError(
                f"{name!r} is nobody of the workshop {self.name!r}{nearest(name, list(self.students))}."
            )
        return student

    def save(self) -> None:
        """Write the record."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        values = {"students": list(self.students), "config": self.config.model_dump(mode="json")}
        write_json(self.folder / "workshop.json", values)

    def forget(self) -> None:
        """Remove the record and the handouts; the labs are gone before."""
        shutil.rmtree(self.folder, ignore_errors=True)
        with contextlib.suppress(OSError):
            self.folder.parent.rmdir()

    @classmethod
    def load(cls, name: str) -> Workshop | None:
        """The workshop on record, None if there is none.

        Raises:
            InputError: its record cannot be understood.
        """
        values = read_json(_folder(name) / "workshop.json")
        if values is None:
            return None
        try:
            return cls(name, tuple(values["students"]), from_values(values["config"]))
        except (KeyError, TypeError, LabError) as error:
            raise InputError(
                f"The record of the workshop {name!r} cannot be understood.",
                details=[f"{_folder(name) / 'workshop.json'}: {error}"],
                fix=f"lab list; lab down --name {name}-STUDENT for each; rm -r {_folder(name)}",
            ) from error

    @staticmethod
    def all() -> list[str]:
        """The names of this user's workshops."""
        folder = paths.state() / FOLDER
        return sorted(entry.name for entry in folder.iterdir()) if folder.is_dir() else []


def students(wanted: str, workshop: str) -> tuple[str, ...]:
    """The students' names: from a number, or a file of names, one a line (`#` begins a comment).

    >>> students("3", "ws")
    ('1', '2', '3')

    Raises:
        InputError: with every name that cannot be one.
    """
    if wanted.isdecimal():
        if not 1 <= int(wanted) <= 99:
            raise InputError("A workshop has 1 to 99 students.")
        return tuple(str(number) for number in range(1, int(wanted) + 1))
    try:
        lines = Path(wanted).read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"--students {wanted}: neither a number nor a file that can be read.", details=[str(error)]
        ) from error
    found: dict[str, int] = {}
    faults = []
    for number, line in enumerate(lines, start=1):
        name = line.partition("#")[0].strip().lower()
        if not name:
            continue
        if name in found:
            faults.append(f"line {number}: {name} is in line {found[name]} already")
        found.setdefault(name, number)
        try:
            LabState(f"{workshop}-{name}")
        except InputError as error:
            faults += [
                f"line {number}: {name}: the lab's name would be {workshop}-{name}: {why}"
                for why in error.details
            ]
    if not found:
        faults.append(
            f"there is no name in it: one a line, of at most {NAME_LENGTH - len(workshop) - 1} characters"
        )
    if faults:
        raise InputError(f"{len(faults)} faults in {wanted}; nothing was touched.", details=faults)
    return tuple(found)


def _folder(name: str) -> Path:
    LabState(name)  # a workshop's name is like a lab's
    return paths.state() / FOLDER / name
