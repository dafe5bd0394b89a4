"""What the documents say is what the code does."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs/reference/generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["config", "cli", "coverage"])
def test_reference_is_up_to_date(generate: ModuleType, name: str) -> None:
    written = (ROOT / f"docs/reference/{name}.md").read_text()
    assert written == getattr(generate, name)(), "run: python docs/reference/generate.py"


def test_ci_runs_the_test_command_of_the_readme() -> None:
    (command,) = [line for line in (ROOT / ".ci/run").read_text().splitlines() if " -e test" in line]
    assert f"    {command}\n" in (ROOT / "README.md").read_text()


def test_links_between_documents_lead_somewhere() -> None:
    documents = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]
    broken = [
        f"{document.relative_to(ROOT)}: {target}"
        for document in documents
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", document.read_text())
        if not (document.parent / target).exists()
    ]
    assert broken == []


def test_every_decision_is_in_the_list() -> None:
    listed = (ROOT / "docs/decisions/README.md").read_text()
    notes = {note.name for note in ROOT.glob("docs/decisions/[0-9]*.md")}
    assert notes
    assert {note for note in notes if note not in listed} == set()
