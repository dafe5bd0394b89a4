"""The course's contents: `docs/workshop/course.yaml` lists the lessons in order, each a Markdown file."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lab import config_file, paths
from lab.errors import InputError
from lab.lessons import pattern, transcript

FOLDER = ("docs", "workshop")


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Check(_Part):
    """One thing that is so on the student's lab once a lesson has worked.

    Args:
        what: the thing, as a sentence.
        run: a command line that shows it.
        shows: its output, with placeholders as in lessons.
        otherwise: what the student does when it is not so.
    """

    what: str
    run: str
    shows: str
    otherwise: str


class Entry(_Part):
    """One lesson as the list has it."""

    file: str
    mode: str
    checks: Annotated[tuple[Check, ...], Field(min_length=1)]


class Contents(_Part):
    """The whole list."""

    lessons: Annotated[tuple[Entry, ...], Field(min_length=1)]


@dataclass(frozen=True)
class Lesson:
    """One lesson: `number` is its place in the course, from 1; `mode` the proxy mode it begins in."""

    number: int
    path: Path
    mode: str
    checks: tuple[Check, ...]

    @cached_property
    def text(self) -> str:
        """The Markdown."""
        return self.path.read_text()

    @property
    def title(self) -> str:
        """Its first heading, without the number."""
        heading = self.text.splitlines()[0].removeprefix("# ")
        return heading.partition(". ")[2] or heading

    @property
    def goal(self) -> str:
        """The paragraph that begins with `**Goal.**`, as one line."""
        paragraph = self.text.partition("**Goal.**")[2].partition("\n\n")[0]
        return " ".join(paragraph.split())

    @cached_property
    def blocks(self) -> tuple[transcript.Block, ...]:
        """Its commands.

        Raises:
            InputError: a block or a placeholder is not understood.
        """
        found = transcript.blocks(self.text, where=self.path.name)
        for block in found:
            for step in block.steps:
                for name in pattern.names_in(f"{step.command}\n{step.output}"):
                    pattern.kind_of(name)
        return found


def lessons(folder: Path | None = None) -> tuple[Lesson, ...]:
    """Every lesson in order.

    Args:
        folder: where `course.yaml` is; by default the course that ships with the project.

    Raises:
        InputError: the list is not right.
    """
    folder = folder or paths.share(*FOLDER)
    file = folder / "course.yaml"
    try:
        contents = Contents.model_validate(config_file.parse(config_file.read(file), str(file)))
    except ValidationError as wrong:
        faults = [f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in wrong.errors()]
        raise InputError(f"{file} is not right.", details=faults) from wrong
    return tuple(
        Lesson(number, folder / entry.file, entry.mode, entry.checks)
        for number, entry in enumerate(contents.lessons, start=1)
    )


def lesson(number: int, folder: Path | None = None) -> Lesson:
    """The lesson of that number.

    Raises:
        InputError: there is none.
    """
    there = lessons(folder)
    if not 1 <= number <= len(there):
        raise InputError(
            f"There is no lesson {number}.", details=[f"lessons: 1 to {len(there)}"], fix="lab lesson list"
        )
    return there[number - 1]
