"""Going through a lesson on a living lab: every command typed, every output compared; and its checks."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

from lab.errors import InputError, LabError
from lab.lessons.course import Check, Lesson
from lab.lessons.pattern import Bindings, Mismatch
from lab.lessons.session import Session
from lab.lessons.transcript import Step

COMMAND_TIMEOUT = 180.0  # the longest are the switches of proxy mode
CHECK_TIMEOUT = 60.0
EFFECT_TIMEOUT = 40.0  # as long as the slowest mode may take to program a change, and a margin
PAUSE = 1.0


@dataclass(frozen=True)
class Difference:
    """A command of a lesson that did not do what the lesson shows."""

    lesson: Lesson
    step: Step
    why: tuple[str, ...]

    def __str__(self) -> str:
        """The place, the command, and the lines that differ."""
        place = f"{self.lesson.path.name}, line {self.step.line}: $ {self.step.command}"
        return "\n".join([place, *(f"  {line}" for line in self.why)])


def through(lesson: Lesson, session: Session) -> list[Difference]:
    """Type every command of a lesson into a shell, and compare every output.

    Args:
        lesson: whose placeholders stand for the same values from its first command to its last.
        session: the student's shell.

    Returns:
        Every command that did not do what is shown; those after it are typed all the same.

    Raises:
        WaitTimeout: a command did not end.
    """
    known = Bindings()
    differences = []
    for block in lesson.blocks:
        for place, step in enumerate(block.steps):
            must_fail = block.fails and place == len(block.steps) - 1
            wrong = _step(step, session, known, must_fail=must_fail, again=block.again)
            if wrong is not None:
                differences.append(Difference(lesson, step, wrong.lines))
    return differences


def _step(step: Step, session: Session, known: Bindings, *, must_fail: bool, again: bool) -> Mismatch | None:
    deadline = time.monotonic() + (EFFECT_TIMEOUT if again else 0)
    try:
        command = known.fill(step.command)
    except InputError as unknown:  # the output that shows it was not as shown
        return Mismatch((unknown.what,))
    while True:
        output, code = session.run(command, timeout=COMMAND_TIMEOUT)
        wrong = known.compare(step.output, output) or _wrong_end(code, must_fail=must_fail)
        if wrong is None or time.monotonic() >= deadline:
            return wrong
        time.sleep(PAUSE)


def _wrong_end(code: int, *, must_fail: bool) -> Mismatch | None:
    if must_fail:
        return Mismatch(("it exited with 0, and should have failed",)) if code == 0 else None
    return Mismatch((f"it exited with {code}",)) if code else None


@dataclass(frozen=True)
class Checked:
    """How one check came out; `seen` is empty where it is so."""

    check: Check
    seen: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether it is as it should be."""
        return not self.seen


def checks(lesson: Lesson, session: Session) -> Iterator[Checked]:
    """Look at a student's lab after a lesson; changes nothing there."""
    known = Bindings()
    for check in lesson.checks:
        try:
            output, _ = session.run(known.fill(check.run), timeout=CHECK_TIMEOUT)
        except LabError as error:
            yield Checked(check, (error.what,))
            return
        wrong = known.compare(check.shows, output)
        yield Checked(check, wrong.lines if wrong else ())
