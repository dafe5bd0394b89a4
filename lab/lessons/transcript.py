"""The commands of a lesson: its fenced `console` blocks, as a terminal shows them.

    ```console
    $ lab exec node01 -- curl -s http://$ip/
    Hello Kubernetes bootcamp! | Running on: <any-pod> | v=1
    ```

A line that begins with `$ ` is a command, one with `> ` goes on with it, all others are its output. Words
after `console` say how it goes: `fails` (the block's last command exits with something else than 0), `again`
(what was done before takes a moment: each command is repeated until its output is as shown).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from lab.errors import InputError

FENCE = "```"
LANGUAGE = "console"
WORDS = frozenset({"fails", "again"})


@dataclass(frozen=True)
class Step:
    """One command and the output it shows; `line` is the command's line in the lesson."""

    command: str
    output: str
    line: int


@dataclass(frozen=True)
class Block:
    """The commands between two fences, one after another."""

    steps: tuple[Step, ...]
    fails: bool = False
    again: bool = False


def blocks(text: str, *, where: str = "the lesson") -> tuple[Block, ...]:
    """Every `console` block of a Markdown text.

    Raises:
        InputError: a block is not closed, begins with output, or says a word that nobody knows.
    """
    return tuple(_blocks(text, where))


def _blocks(text: str, where: str) -> Iterator[Block]:
    opened: int | None = None
    words: list[str] = []
    lines: list[tuple[int, str]] = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.startswith(FENCE):
            lines.append((number, line))
            continue
        if opened is not None:
            if words[:1] == [LANGUAGE]:
                yield Block(_steps(lines, where), fails="fails" in words, again="again" in words)
            opened = None
            continue
        opened, words, lines = number, line.removeprefix(FENCE).split(), []
        if words[:1] == [LANGUAGE] and (unknown := set(words[1:]) - WORDS):
            raise InputError(f"{where}, line {number}: {', '.join(unknown)}: not one of {', '.join(WORDS)}.")
    if opened is not None:
        raise InputError(f"{where}, line {opened}: this block is not closed.")


def _steps(lines: list[tuple[int, str]], where: str) -> tuple[Step, ...]:
    steps: list[Step] = []
    for number, line in lines:
        if line.startswith("$ "):
            steps.append(Step(line.removeprefix("$ "), "", number))
        elif not steps:
            raise InputError(f"{where}, line {number}: output before the first command.", details=[line])
        else:
            last = steps[-1]
            if line.startswith("> ") and not last.output:
                steps[-1] = Step(f"{last.command}\n{line.removeprefix('> ')}", "", last.line)
            else:
                steps[-1] = Step(last.command, f"{last.output}{line}\n", last.line)
    return tuple(steps)
