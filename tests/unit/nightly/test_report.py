"""The page and the summary: whole without scripts or a network; no message is taken as markup."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from nights import IPTABLES, NFTABLES, broken, cell, history, name

from lab.nightly import report
from lab.nightly.results import FAILED, PASSED, SKIPPED, CellResult, NightResult

EVIL = "assert <script>alert(1)</script> & a|b"


class Page(HTMLParser):
    """Which elements there are, which links, and whether every element that is opened is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value for key, value in attrs if key in ("href", "src") and value]
        if tag not in ("meta", "link", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def write(folder: Path, nights: dict[str, list[CellResult]]) -> tuple[str, str]:
    """The page and the summary of the last of these nights."""
    made = history(folder, nights)
    last = max(nights)
    (folder / name(last)).mkdir()
    report.write(folder, NightResult(name(last), nights[last], {"kernel": "6.1.0"}, interrupted=False), made)
    return (folder / "index.html").read_text(), (folder / name(last) / "summary.md").read_text()


def evil(result: CellResult) -> CellResult:
    return replace(result, tests=tuple(replace(case, message=EVIL) for case in result.tests))


def test_the_page_is_whole_by_itself(tmp_path: Path) -> None:
    page, _ = write(tmp_path, {"22": [cell(answers=PASSED)], "23": [evil(cell(answers=FAILED))]})

    parsed = Page(page)
    assert parsed.open == []
    assert "script" not in parsed.tags
    assert {link.partition("/")[0] for link in parsed.links} == {name("23")}
    assert "http" not in page
    assert "prefers-color-scheme: dark" in page
    assert '<meta name="viewport" content="width=device-width' in page
    assert "assert &lt;script&gt;alert(1)&lt;/script&gt; &amp; a|b" in page


def test_what_changed_names_the_behaviour_the_cell_and_the_place(tmp_path: Path) -> None:
    page, summary = write(tmp_path, {"22": [cell(answers=PASSED)], "23": [evil(cell(answers=FAILED))]})

    changed = page.partition("What changed since last night")[2].partition("<h2>")[0]
    assert "Newly failing" in changed
    assert "<strong>clusterip/answers</strong>" in changed
    assert "podman 1.37 iptables at node01" in changed
    assert "### Newly failing" in summary
    assert (
        r"- `clusterip/answers`: podman 1.37 iptables at node01: "
        r"assert &lt;script&gt;alert(1)&lt;/script&gt; &amp; a\|b" in summary
    )


def test_nothing_changed_is_said(tmp_path: Path) -> None:
    page, summary = write(tmp_path, {"22": [cell(answers=PASSED)], "23": [cell(answers=PASSED)]})

    assert "<p>Nothing.</p>" in page
    assert "Nothing." in summary
    assert "Passed in the only cell" in page


def test_every_behaviour_has_a_square_a_night(tmp_path: Path) -> None:
    page, _ = write(
        tmp_path,
        {
            "21": [cell(answers=PASSED, refuses=PASSED)],
            "22": [cell(answers=FAILED, refuses=SKIPPED)],
            "23": [cell(NFTABLES, answers=PASSED)],
        },
    )

    def marks(row: str) -> str:
        strip = re.search(
            rf'<span class="name[^"]*">{row}</span>\s*<span class="strip"[^>]*>(.*?)</span>', page
        )
        assert strip, row
        return "".join(re.findall(r">(.)</i>", strip[1]))

    assert marks("answers") == "✓✗✓"
    assert marks("refuses") == "✓-·"
    # Each cell by itself only where something failed.
    assert marks("podman 1.37 iptables") == "✓✗·"
    assert page.count("<details>") == 1


def test_the_table_of_the_summary_has_every_cell(tmp_path: Path) -> None:
    old = replace(IPTABLES, kubernetes="1.36.3")
    _, summary = write(tmp_path, {"23": [cell(answers=FAILED), cell(NFTABLES, answers=PASSED), broken(old)]})

    table = [line for line in summary.splitlines() if line.startswith("|")]
    assert table == [
        "| Lab | iptables | nftables |",
        "|---|---|---|",
        "| podman 1.37.2 | ✗ 0 passed, 1 failed, 0 skipped | ✓ 1 passed, 0 failed, 0 skipped |",
        "| podman 1.36.3 | ✗ could not be tested |  |",
    ]


@pytest.mark.parametrize("older", [0, 10])
def test_the_page_shows_the_last_nights_and_says_where_the_others_are(tmp_path: Path, older: int) -> None:
    nights = {f"{day:02}": [cell(answers=PASSED)] for day in range(1, report.SHOWN + 1)}
    made = history(tmp_path, nights)
    for day in range(older):
        made.put(NightResult(f"2026-12-{day + 1:02}T013000Z", [cell(answers=PASSED)]))
    last = NightResult(made.nights[-1], [cell(answers=PASSED)])
    report.write(tmp_path, last, made)

    page = (tmp_path / "index.html").read_text()
    assert (f"{older} older nights are in" in page) == (older > 0)
    assert page.count('class="strip"') == 2
