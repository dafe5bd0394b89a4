"""The page in a real browser, where there is one: it fits a phone, and its filters work without a script."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from run_events import FAILED, Run

from lab.report import folder, page

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here")

#: A page around ours that looks at it as a person would and writes down what it sees.
LOOKING = """<!doctype html>
<iframe src="report.html" style="width:{width}px;height:800px;border:0"></iframe><pre></pre>
<script>
onload = () => {{
  const page = document.querySelector("iframe").contentDocument;
  page.querySelectorAll("details").forEach(part => part.open = true);
  const rows = [...page.querySelectorAll(".rows .row")];
  const shown = () => rows.filter(row => row.getClientRects().length).length;
  const seen = {{ wide: page.documentElement.scrollWidth, all: shown() }};
  for (const id of ["outcome-failed", "outcome-all", "node-2", "node-all", "mode-1"]) {{
    page.querySelector(`label[for="${{id}}"]`).click();
    seen[id] = shown();
  }}
  seen.background = getComputedStyle(page.body).backgroundColor;
  document.querySelector("pre").textContent = JSON.stringify(seen);
}};
</script>
"""


def look(run: Path, *options: str, width: int) -> dict[str, object]:
    around = run / "looking.html"
    around.write_text(LOOKING.format(width=width))
    said = subprocess.run(
        [
            str(CHROMIUM),
            *(
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--hide-scrollbars",
                "--allow-file-access-from-files",
                *options,
            ),
            *(f"--user-data-dir={run / 'browser'}", "--virtual-time-budget=2000", "--dump-dom"),
            around.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    found = re.search(r"<pre>(\{.*\})</pre>", said.stdout)
    assert found, said.stdout + said.stderr
    seen: dict[str, object] = json.loads(found[1])
    return seen


@pytest.fixture
def run(tmp_path: Path) -> Path:
    made = Run(tmp_path)
    made.test()
    long = {**FAILED, "node": "node02", "instead": "x" * 500, "traceback": "y" * 500}
    made.test("tests/conformance/test_dns.py::test_name[node02]", outcome="failed", **long)
    made.test("tests/conformance/test_dns.py::test_other[node02]", node="node02")
    made.end(1)
    folder.write(tmp_path)
    assert (tmp_path / page.FILE).is_file()
    return tmp_path


@pytest.mark.parametrize("width", [360, 1200])
def test_it_is_no_wider_than_the_screen_and_its_filters_work(run: Path, width: int) -> None:
    seen = look(run, width=width)
    assert seen["wide"] == width
    counts = [seen[name] for name in ("all", "outcome-failed", "outcome-all", "node-2", "node-all", "mode-1")]
    assert counts == [3, 1, 3, 2, 3, 3]


def test_it_is_dark_where_that_is_preferred(run: Path) -> None:
    light = look(run, width=400)["background"]
    dark = look(run, "--blink-settings=preferredColorScheme=0", width=400)["background"]
    assert (light, dark) == ("rgb(246, 247, 249)", "rgb(18, 21, 27)")
