"""`lab lesson`: the course at the terminal, and whether a lesson worked on the student's own lab."""

from __future__ import annotations

from typing import Annotated

import typer

from lab.cli import completion, options
from lab.errors import Exit
from lab.progress import result, result_json, result_markdown, result_table

app = typer.Typer(no_args_is_help=True)
Number = Annotated[
    int, typer.Argument(metavar="N", help="The lesson's number.", autocompletion=completion.lessons)
]


@app.command("list")
def list_lessons(*, output: options.OutputOption = options.Output.TEXT) -> None:
    """List the lessons in order."""
    from lab.lessons import course  # noqa: PLC0415

    lessons = course.lessons()
    if output is options.Output.JSON:
        result_json(
            [
                {"number": one.number, "title": one.title, "mode": one.mode, "goal": one.goal}
                for one in lessons
            ]
        )
        return
    result_table(("n", "lesson", "mode"), [[str(one.number), one.title, one.mode] for one in lessons])
    result("\nlab lesson show 1 is the first; lab lesson check 1 says whether it worked.")


@app.command("show")
def show(number: Number) -> None:
    """Show a lesson."""
    from lab.lessons import course  # noqa: PLC0415

    result_markdown(course.lesson(number).text)


@app.command("check")
def check(number: Number, *, name: options.Name = None) -> None:
    """Look at the lab after a lesson: what is as it should be, and what to do about what is not.

    Changes nothing. Exit code 1: something is not so yet.
    """
    from lab.lessons import course, play  # noqa: PLC0415
    from lab.lessons.session import Session  # noqa: PLC0415

    lesson = course.lesson(number)
    lab = options.living(name)
    missing = 0
    with Session(lab.state.name, lab.state.dir) as session:
        for done in play.checks(lesson, session):
            result(f"{'ok     ' if done.ok else 'not yet'}  {done.check.what}")
            if not done.ok:
                missing += 1
                result(f"         looked with: {done.check.run}")
                for line in done.seen:
                    result(f"         {line}")
                result(f"         next: {done.check.otherwise}")
    if missing:
        result(f"\nLesson {number} is not there yet. Lines with - are what should be seen, with + what was.")
        raise typer.Exit(int(Exit.TEST_FAILED))
    following = number + 1 if number < len(course.lessons()) else None
    result(
        f"\nLesson {number} worked. "
        + (f"Next: lab lesson show {following}" if following else "That was the last.")
    )
