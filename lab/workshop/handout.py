"""A student's page: one file, no network, no script, with the lab's addresses and the whole course."""

from __future__ import annotations

import html
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token

from lab.config import Config
from lab.lessons import course
from lab.lessons.transcript import LANGUAGE
from lab.state import read_json, write_text
from lab.workshop.labs import Workshop


def write(workshop: Workshop, student: str) -> Path:
    """Write the page of a student whose lab is up; returns where it is."""
    state = workshop.lab(student)
    config = state.read_config() or workshop.config_of(student)
    ports = read_json(state.ports_file) or {}
    page = workshop.handout(student)
    write_text(page, render(student, workshop.name, config=config, kubeconfig=state.kubeconfig, ports=ports))
    return page


def render(
    student: str,
    workshop: str,
    *,
    config: Config,
    kubeconfig: Path,
    ports: Mapping[str, Any],
) -> str:
    """The page as HTML."""
    lessons = course.lessons()
    environment = Environment(
        loader=PackageLoader("lab.workshop", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    numbers = {lesson.path.name: lesson.number for lesson in lessons}
    return environment.get_template("handout.html.j2").render(
        student=student,
        workshop=workshop,
        config=config,
        kubeconfig=kubeconfig,
        ports=ports,
        programs=Path(sys.executable).parent,
        lessons=[
            {"number": one.number, "title": one.title, "mode": one.mode, "html": _html(one.text, numbers)}
            for one in lessons
        ],
    )


def _html(text: str, numbers: Mapping[str, int]) -> str:
    """A lesson's Markdown as HTML; links between lessons stay within the page."""
    markdown = MarkdownIt("commonmark", {"html": False}).enable("table")
    markdown.add_render_rule("fence", _fence)
    tokens = markdown.parse(text)
    for token in tokens:
        if token.type in {"heading_open", "heading_close"}:
            token.tag = f"h{int(token.tag[1]) + 1}"  # the page's own heading is the first
        for inner in token.children or ():
            target = str(inner.attrGet("href") or "")
            if inner.type == "link_open" and target in numbers:
                inner.attrSet("href", f"#lesson-{numbers[target]}")
    return str(markdown.renderer.render(tokens, markdown.options, {}))


def _fence(_self: RendererHTML, tokens: Sequence[Token], place: int, *_: object) -> str:
    """A block of commands: what is typed stands out from what is seen."""
    token = tokens[place]
    lines = html.escape(token.content, quote=False)
    if token.info.split()[:1] == [LANGUAGE]:
        lines = re.sub(r"(?m)^((?:\$|&gt;) .*)$", r"<b>\1</b>", lines)
    return f"<pre><code>{lines}</code></pre>\n"
