"""The course on a living lab: every command of every lesson typed in order, every shown output compared."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from harness import Lab, MakeLab
from raised import raise_lab

from lab.lessons import course, play
from lab.lessons.session import Session

LESSONS = course.lessons()


@pytest.fixture(scope="module")
def student(make_lab: MakeLab) -> Iterator[Lab]:
    """A lab of a workshop's size, on the provider that has every mode."""
    lab = make_lab("les")
    lab.run("bundle", "build", "--provider", "uml", timeout=1200).assert_success()
    raise_lab(lab, "provider: uml\nmachine: {memory: 1152}\n")
    yield lab
    lab.named("down", timeout=180).assert_success()


@pytest.mark.timeout(1200)
def test_the_course_from_its_first_command_to_its_last(
    student: Lab, subtests: pytest.Subtests, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One test, since a lesson begins where the one before it ended; each lesson is a subtest of it."""
    for name, value in student.environment().items():
        monkeypatch.setenv(name, value)
    with Session(student.name, student.root) as session:
        for lesson in LESSONS:
            with subtests.test(lesson.path.stem):
                begun = time.monotonic()
                # Before it, a lesson is not done: a check that could not fail would tell nobody anything.
                before = student.run("lesson", "check", "--name", student.name, str(lesson.number))
                before.assert_exit(1)
                assert f"Lesson {lesson.number} is not there yet." in before.stdout, str(before)

                differences = play.through(lesson, session)
                assert not differences, "\n".join(map(str, differences))

                after = student.run("lesson", "check", "--name", student.name, str(lesson.number))
                after.assert_success()
                assert f"Lesson {lesson.number} worked." in after.stdout, str(after)
                print(f"{lesson.path.stem}: {time.monotonic() - begun:.0f} s")
