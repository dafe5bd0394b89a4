"""Going through a lesson on a living lab: every command typed, every output compared; and its checks."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from lab.errors import LabError
from lab.lessons.course import Check, Lesson
from lab.lessons.pattern import Bindings, Mismatch
from lab.lessons.session import Session
from lab.lessons.transcript import Block, Step

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


def through(
    lesson: Lesson, session: Session, typed: Callable[[str], None] = lambda _: None
) -> Difference | None:
    """Type every command of a lesson into a shell, up to the first whose output is not as shown.

    Args:
        lesson: whose placeholders stand for the same values from its first command to its last.
        session: the student's shell.
        typed: is told each command before it runs.

    Returns:
        The first difference, None where there is none.

    Raises:
        WaitTimeout: a command did not end.
    """
    known = Bindings()
    for block in lesson.blocks:
        difference = _block(lesson, block, session, known, typed)
        if difference is not None:
            return difference
    return None


def _block(
    lesson: Lesson, block: Block, session: Session, known: Bindings, typed: Callable[[str], None]
) -> Difference | None:
    for place, step in enumerate(block.steps):
        must_fail = block.fails and place == len(block.steps) - 1
        deadline = time.monotonic() + (EFFECT_TIMEOUT if block.again else 0)
        while True:
            command = known.fill(step.command)
            typed(command)
            output, code = session.run(command, timeout=COMMAND_TIMEOUT)
            wrong = known.compare(step.output, output) or _wrong_end(code, must_fail=must_fail)
            if wrong is None or time.monotonic() >= deadline:
                break
            time.sleep(PAUSE)
        if wrong is not None:
            return Difference(lesson, step, wrong.lines)
    return None


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
