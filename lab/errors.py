"""Every expected failure: what is wrong, why, and what mends it. Caught in `lab.cli` and nowhere else."""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum


class Exit(IntEnum):
    """Exit codes of the `lab` command."""

    DONE = 0
    TEST_FAILED = 1
    BAD_INPUT = 2
    BRING_UP_FAILED = 3
    WAIT_TIMED_OUT = 4
    PREREQUISITE_MISSING = 5
    INTERRUPTED = 130


class LabError(Exception):
    """An expected failure, shown as one message without a traceback.

    Args:
        what: one sentence: what is wrong.
        details: the reasons or faults, one a line, all of them at once.
        fix: what mends it, ideally a command to paste.
    """

    code: Exit = Exit.BRING_UP_FAILED

    def __init__(self, what: str, *, details: Iterable[str] = (), fix: str | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.details = tuple(details)
        self.fix = fix

    def __str__(self) -> str:
        """The whole message as plain text, as the command line prints it."""
        lines = [self.what, *(f"  - {detail}" for detail in self.details)]
        if self.fix:
            lines.append(f"To mend it: {self.fix}")
        return "\n".join(lines)


class InputError(LabError):
    """Bad input or configuration; nothing was touched."""

    code = Exit.BAD_INPUT


class BringUpError(LabError):
    """A lab could not be brought up, switched or taken down."""

    code = Exit.BRING_UP_FAILED


class WaitTimeout(LabError):  # noqa: N818 -- `wait timed out` says it better than an Error would
    """A bounded wait ended without what it waited for."""

    code = Exit.WAIT_TIMED_OUT


class PrerequisiteError(LabError):
    """Something the host must have is missing; nothing was touched."""

    code = Exit.PREREQUISITE_MISSING
