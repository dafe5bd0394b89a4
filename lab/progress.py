"""What a person sees while a command works: steps with their time, on stderr. Results go to stdout.

The only module that knows `rich`. Without a terminal on stderr (CI, a pipe) it writes plain lines, in order.
"""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import ClassVar

from rich.console import Console, ConsoleOptions
from rich.markdown import CodeBlock, Markdown
from rich.markup import escape
from rich.status import Status
from rich.text import Text


def duration(seconds: float) -> str:
    """Seconds in the words of a person: `3.2 s`, `2 min 05 s`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s"


class Progress:
    """One run's steps. `with progress.step("…"):` around each; nested steps are indented.

    Args:
        verbose: show every activity as a line of its own.
        quiet: show nothing but warnings.
    """

    def __init__(self, *, verbose: bool = False, quiet: bool = False) -> None:
        self.verbose = verbose
        self.quiet = quiet
        self.console = Console(stderr=True, highlight=False, soft_wrap=True)
        self._begun = time.monotonic()
        self._depth = 0
        self._title = ""
        self._status: Status | None = None

    @property
    def elapsed(self) -> float:
        """Seconds since the first step could have begun."""
        return time.monotonic() - self._begun

    @contextlib.contextmanager
    def step(self, title: str, *, last: float | None = None) -> Iterator[None]:
        """Show that `title` is being done, and at the end how long it took.

        Args:
            title: what is done, as a phrase: `Building the kernel`.
            last: how many seconds it took last time, if known.
        """
        expected = f" (took {duration(last)} last time)" if last is not None else ""
        indent = "  " * self._depth
        above, self._title = self._title, f"{indent}{title}{expected}"
        self._depth += 1
        begun = time.monotonic()
        if self.console.is_terminal:
            self._show(self._title)
        else:
            self._line(f"{self._stamp()} {indent}{title} …{expected}")
        try:
            yield
        except BaseException as error:
            mark = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
            self._done(f"{indent}{title}", time.monotonic() - begun, f"[red]✗ {mark}[/red]", mark)
            raise
        else:
            self._done(f"{indent}{title}", time.monotonic() - begun, "[green]✓[/green]", "done")
        finally:
            self._depth -= 1
            self._title = above
            if self._depth == 0 or not above:
                self._hide()
            else:
                self._show(above)

    def activity(self, text: str) -> None:
        """What the current step is doing right now: a task and its host, a file, a line of a build."""
        if self.verbose:
            self._line(f"{self._stamp()} {'  ' * self._depth}{text}")
        elif self._status is not None:
            width = max(20, self.console.width - len(self._title) - 8)
            self._status.update(f"{escape(self._title)} [dim]{escape(text[:width])}[/dim]")

    def note(self, text: str) -> None:
        """A line that stays."""
        self._line(f"{'  ' * self._depth}{text}")

    def warn(self, text: str) -> None:
        """A line that stays, and stands out; shown even when quiet."""
        self.console.print(f"[yellow]warning:[/yellow] {escape(text)}")

    def error(self, text: str) -> None:
        """The message of a failure: the first line stands out; shown even when quiet."""
        first, _, rest = text.partition("\n")
        self.console.print(f"[red]error:[/red] {escape(first)}" + (f"\n{escape(rest)}" if rest else ""))

    def _done(self, title: str, seconds: float, mark: str, word: str) -> None:
        if self.quiet:
            return
        if self.console.is_terminal:
            self.console.print(f"{mark} {escape(title)} [dim]{duration(seconds)}[/dim]")
        else:
            self._line(f"{self._stamp()} {title}: {word} in {duration(seconds)}")

    def _stamp(self) -> str:
        return f"[{self.elapsed:6.1f} s]"

    def _line(self, text: str) -> None:
        if not self.quiet:
            self.console.print(escape(text))

    def _show(self, text: str) -> None:
        if self.quiet or not self.console.is_terminal:
            return
        if self._status is None:
            self._status = self.console.status(escape(text))
            self._status.start()
        else:
            self._status.update(escape(text))

    def _hide(self) -> None:
        if self._status is not None:
            self._status.stop()
            self._status = None


def result(text: str) -> None:
    """Print a result as it is, to stdout."""
    sys.stdout.write(text if text.endswith("\n") else text + "\n")
    sys.stdout.flush()


def result_json(value: object) -> None:
    """Print a result for a program, to stdout."""
    result(json.dumps(value, indent=2))


class _Code(CodeBlock):
    """Commands and outputs as they are: a line that is broken could not be pasted."""

    def __rich_console__(self, _console: Console, _options: ConsoleOptions) -> Iterator[Text]:
        for line in str(self.text).rstrip().splitlines():
            style = "bold cyan" if line.startswith(("$ ", "> ")) else "cyan"
            yield Text(f"  {line}", style, no_wrap=True, overflow="ignore")


class _Markdown(Markdown):
    elements: ClassVar = {**Markdown.elements, "fence": _Code}


def result_markdown(text: str) -> None:
    """Print a Markdown text: rendered for a person at a terminal, as it is for a program."""
    if sys.stdout.isatty():
        Console(highlight=False).print(_Markdown(text), crop=False)
    else:
        result(text)


def result_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a result as columns, as kubectl does: no lines, nothing wrapped or cut off."""
    lines = [[column.upper().replace("_", " ") for column in columns], *rows]
    widths = [max(len(line[place]) for line in lines) for place in range(len(columns))]
    for line in lines:
        result("   ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def result_styled(lines: Iterable[Sequence[tuple[str, str]]]) -> None:
    """Print a result as lines of (style, text), to stdout: in colour on a terminal, plain anywhere else."""
    console = Console(highlight=False, soft_wrap=True)
    for line in lines:
        console.print(Text.assemble(*((text, style) for style, text in line)))
