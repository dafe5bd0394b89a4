"""One night at a time, and nothing in its way of one that was killed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from lab import lock, paths, take_down
from lab.errors import BringUpError, InputError
from lab.progress import Progress
from lab.state import LabState

MARK = "nightly"


def mark(state: LabState) -> None:
    """Mark a lab as one that a night raises: only such a lab is taken down unasked.

    The mark is a run's folder, which a bring-up that starts over keeps, and which goes with the lab.
    """
    state.new_run(MARK)


@contextlib.contextmanager
def alone() -> Iterator[bool]:
    """Hold the right to run a night: one at a time for each user, since two would share the processors.

    Yields:
        Whether the night before was killed: its lock's file is still there.

    Raises:
        BringUpError: another night is being run.
    """

    def busy(holder: str) -> BringUpError:
        return BringUpError(
            "Another night is being run.",
            details=[f"{holder} runs it"],
            fix="wait until it has ended, or interrupt it with Ctrl-C or SIGTERM: it takes its lab down",
        )

    file = paths.state() / ".nightly"
    killed = file.exists()
    with lock.hold(file, verb="lab nightly", busy=busy):
        yield killed


def take_leftovers_down(state: LabState, progress: Progress, *, killed: bool) -> None:
    """Take down the labs that killed nights left, whatever their names.

    Args:
        state: the lab this night is going to raise.
        progress: is told.
        killed: whether the night before was killed: it may have lost its mark while it removed its lab.

    Raises:
        InputError: there is a lab of that name, and no night raised it.
    """
    for lab in LabState.all():
        marked = any(lab.runs_dir.glob(f"*-{MARK}*"))
        if marked or (killed and lab == state):
            progress.note(f"The night before was killed: taking its lab {lab.name!r} down first.")
            take_down.down(lab, progress)
        elif lab == state:
            raise InputError(
                f"There is a lab {lab.name!r}, and no night raised it; nothing was touched.",
                fix=f"lab down --name {lab.name}, or lab nightly --name ANOTHER",
            )
