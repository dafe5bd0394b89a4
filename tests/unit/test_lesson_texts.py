"""How a lesson's shown output is held against a real one, and the course as it ships."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from lab.config import PROXY_MODES
from lab.errors import InputError, WaitTimeout
from lab.lessons import course, pattern, play, transcript
from lab.lessons.pattern import Bindings
from lab.lessons.session import Session

POD = "mytest-79f94f474d-49mg2"
OTHER = "mytest-79f94f474d-vh2gs"


@pytest.fixture
def known() -> Bindings:
    return Bindings()


@pytest.mark.parametrize(
    ("shown", "seen"),
    [
        ("hello", "hello\n"),
        ("NAME   READY\nweb    3", "NAME            READY  \nweb             3\n"),
        ("by <pod>", f"by {POD}"),
        ("a\n...\nz", "a\nz"),
        ("a\n...\nz", "a\nb\nc\nz"),
        ("<none> <80..120>", "<none> 100"),
        ("ended in <age> ...", "ended in 2m5s or so"),
        ("", ""),
    ],
)
def test_outputs_that_agree(known: Bindings, shown: str, seen: str) -> None:
    assert known.compare(shown, seen) is None


@pytest.mark.parametrize(
    ("shown", "seen"),
    [
        ("hello", "hello there"),
        ("hello", ""),
        ("", "curl: (7) Failed to connect"),
        ("by <pod>", "by nobody"),
        ("a\n...\nz", "a\nb"),
        ("<80..120>", "79"),
        ("<80..120>", "121"),
        ("<none>", "none"),
        ("a.c", "abc"),
        ("one\ntwo", "one\ntwo\nthree"),
        ("<cluster-ip>", "10.244.1.2"),
    ],
)
def test_outputs_that_differ(known: Bindings, shown: str, seen: str) -> None:
    assert known.compare(shown, seen) is not None


def test_a_placeholder_is_the_same_thing_throughout(known: Bindings) -> None:
    assert known.compare("<pod-1>", POD) is None
    assert known.fill("delete pod <pod-1>") == f"delete pod {POD}"
    assert known.compare("<pod-1> again", f"{POD} again") is None
    assert known.compare("<pod-1> again", f"{OTHER} again") is not None
    assert known.compare("<any-pod>", OTHER) is None


def test_within_one_output_too(known: Bindings) -> None:
    assert known.compare("<pod-1>\n<pod-1>", f"{POD}\n{OTHER}") is not None
    assert known.compare("<pod-1>\n<pod-1>", f"{POD}\n{POD}") is None


def test_two_names_are_two_things(known: Bindings) -> None:
    wrong = known.compare("<pod-1>\n<pod-2>", f"{POD}\n{POD}")
    assert wrong is not None
    assert wrong.lines[0] == f"<pod-1> and <pod-2> are both {POD}"


def test_nothing_is_learnt_from_an_output_that_differs(known: Bindings) -> None:
    assert known.compare("<pod-1> is ready", f"{POD} is not") is not None
    assert known.values == {}


def test_the_difference_names_what_is_known(known: Bindings) -> None:
    assert known.compare("<pod-1>", POD) is None
    wrong = known.compare("by <pod-1>\nend", f"by {OTHER}\nend")
    assert wrong is not None
    assert wrong.lines == (f"- by {POD}", f"+ by {OTHER}", "  end")


def test_placeholders_that_are_none(known: Bindings) -> None:
    with pytest.raises(InputError, match="<podd> is no placeholder"):
        known.compare("<podd>", POD)
    with pytest.raises(InputError, match="No output before this command shows <pod-9>"):
        known.fill("delete <pod-9>")


LESSON = """\
# 1. One

Text with `code`.

```console
$ first \\
> more
out 1
out 2
$ second
```

```yaml
not: a command
```

```console fails again
$ third
```
"""


def test_the_commands_of_a_lesson() -> None:
    one, two = transcript.blocks(LESSON)
    assert [(s.command, s.output, s.line) for s in one.steps] == [
        ("first \\\nmore", "out 1\nout 2\n", 6),
        ("second", "", 10),
    ]
    assert (one.fails, one.again) == (False, False)
    assert (two.fails, two.again) == (True, True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("```console\n$ a\n", "line 1: this block is not closed"),
        ("```console\nout\n```\n", "line 2: output before the first command"),
        ("```console maybe\n$ a\n```\n", "line 1: maybe: not one of"),
    ],
)
def test_blocks_that_are_wrong(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        transcript.blocks(text)


def test_a_session_keeps_its_variables_and_tells_exit_codes(tmp_path: Path) -> None:
    with Session("ws-ana", tmp_path) as session:
        assert session.run("x=$(echo 5)", timeout=10) == ("", 0)
        assert session.run("echo $x; echo no >&2; (exit 3)", timeout=10) == ("5\nno\n", 3)
        assert session.run("echo $KUBE_SERVICE_LAB_NAME; pwd", timeout=10) == (f"ws-ana\n{tmp_path}\n", 0)
        assert session.run("cat", timeout=10) == ("", 0)  # nobody types what a command reads


def test_a_command_that_does_not_end(tmp_path: Path) -> None:
    with Session("ws", tmp_path) as session, pytest.raises(WaitTimeout, match="did not end within"):
        session.run("echo begun; sleep 60", timeout=0.5)


def a_lesson(tmp_path: Path, text: str, checks: str = "") -> course.Lesson:
    (tmp_path / "one.md").write_text(text)
    listed = checks or "[{what: It is so, run: echo fine, shows: fine, otherwise: try again}]"
    (tmp_path / "course.yaml").write_text(f"lessons:\n- {{file: one.md, mode: ipvs, checks: {listed}}}\n")
    (lesson,) = course.lessons(tmp_path)
    return lesson


def play_through(tmp_path: Path, text: str) -> list[str]:
    with Session("lab", tmp_path) as session:
        return [str(difference) for difference in play.through(a_lesson(tmp_path, text), session)]


def test_a_lesson_that_is_as_shown(tmp_path: Path) -> None:
    text = f"# 1. One\n```console\n$ echo {POD}\n<pod-1>\n$ echo is <pod-1>\nis <pod-1>\n```\n"
    assert play_through(tmp_path, text) == []


def test_a_lesson_that_is_not_as_shown(tmp_path: Path) -> None:
    text = "# 1. One\n```console\n$ echo one\none\n$ echo two\nis <pod-1>\n$ echo <pod-1>\n```\n"
    assert play_through(tmp_path, text) == [
        "one.md, line 5: $ echo two\n  - is <pod-1>\n  + two",
        "one.md, line 7: $ echo <pod-1>\n  No output before this command shows <pod-1>.",
    ]


def test_a_command_must_end_as_its_block_says(tmp_path: Path) -> None:
    assert "it exited with 1" in str(play_through(tmp_path, "# 1. One\n```console\n$ false\n```\n"))
    assert play_through(tmp_path, "# 1. One\n```console fails\n$ true\n$ false\n```\n") == []
    assert "should have failed" in str(play_through(tmp_path, "# 1. One\n```console fails\n$ true\n```\n"))


def test_an_effect_that_takes_a_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(play, "PAUSE", 0.05)
    counts = "echo x >> n; wc -l < n"
    assert play_through(tmp_path, f"# 1. One\n```console again\n$ {counts}\n3\n```\n") == []
    monkeypatch.setattr(play, "EFFECT_TIMEOUT", 0.3)
    assert play_through(tmp_path, f"# 1. One\n```console again\n$ {counts}\n2\n```\n") != []


def test_what_one_check_learns_holds_for_the_next(tmp_path: Path) -> None:
    check = "{{what: w, otherwise: o, run: echo {}, shows: <pod-1>}}"
    lesson = a_lesson(tmp_path, "# 1. One\n", f"[{check.format(POD)}, {check.format(OTHER)}]")
    with Session("lab", tmp_path) as session:
        first, second = play.checks(lesson, session)
    assert (first.ok, second.ok) == (True, False)
    assert second.seen == (f"- {POD}", f"+ {OTHER}")


LESSONS = course.lessons()


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.path.stem)
def test_every_lesson_is_whole(lesson: course.Lesson) -> None:
    assert lesson.text.startswith(f"# {lesson.number}. ")
    assert lesson.path.name.startswith(f"{lesson.number:02d}-")
    assert lesson.mode in PROXY_MODES
    assert lesson.goal
    assert len([step for block in lesson.blocks for step in block.steps]) >= 3
    for part in ("**Question.**", "**Answer.**", "**Read on.**"):
        assert part in lesson.text, part
    # They are read on paper and on a page of their own: links lead to another lesson or to the network.
    links = re.findall(r"\]\(([^)]+)\)", lesson.text)
    assert [
        link
        for link in links
        if not link.startswith("https://") and not (lesson.path.parent / link).is_file()
    ] == []
    assert any(link.startswith("https://") for link in links)
    for check in lesson.checks:
        for name in pattern.names_in(f"{check.run}\n{check.shows}"):
            pattern.kind_of(name)


def test_every_file_of_the_course_is_in_its_list() -> None:
    assert {lesson.path for lesson in LESSONS} == set(LESSONS[0].path.parent.glob("[0-9]*.md"))
