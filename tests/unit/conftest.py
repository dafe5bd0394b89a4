"""What unit tests share: folders of their own, and fakes that stand in for machines, a source and Ansible."""

from __future__ import annotations

import importlib
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest
from fakes import FakePlaybooks, FakeProvider, FakeSource

from lab import ansible, bring_up, cli, providers, sources, switch
from lab.state import LabState


@dataclass(frozen=True)
class Outcome:
    """How a run of the command ended."""

    code: int
    out: str
    err: str

    def assert_exit(self, code: int) -> Outcome:
        assert self.code == code, f"exit {self.code}\n{self.out}\n{self.err}"
        return self


@pytest.fixture(autouse=True)
def _own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.setenv("KUBE_SERVICE_LAB_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("KUBE_SERVICE_LAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.delenv("KUBE_SERVICE_LAB_NAME", raising=False)
    # ssh's sockets are beside the state, where paths are short.
    with tempfile.TemporaryDirectory(prefix="ksl-unit-") as short:
        monkeypatch.setattr(tempfile, "gettempdir", lambda: short)
        yield


@pytest.fixture
def lab(capfd: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Runs `lab ARGS` in this process."""

    def run(*args: str) -> Outcome:
        capfd.readouterr()
        code = cli.run(args)
        said = capfd.readouterr()
        return Outcome(code, said.out, said.err)

    return run


@pytest.fixture
def of_suites(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    """Imports a module of the conformance suites by its name, `prober`."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1]))
    return lambda name: importlib.import_module(f"conformance.{name}")


@pytest.fixture
def state() -> LabState:
    return LabState("lab")


@pytest.fixture
def machines(monkeypatch: pytest.MonkeyPatch) -> type[FakeProvider]:
    """Every provider is a fake one, whose machines are remembered by the test alone."""

    class Fake(FakeProvider):
        pass

    Fake.reset()
    monkeypatch.setattr(providers, "get", Fake)
    return Fake


@pytest.fixture
def source(monkeypatch: pytest.MonkeyPatch) -> FakeSource:
    fake = FakeSource()
    monkeypatch.setattr(sources, "get", lambda _name: fake)
    return fake


@pytest.fixture
def playbooks(monkeypatch: pytest.MonkeyPatch) -> FakePlaybooks:
    """Ansible is a fake one; every node says the proxy mode that was last asked for."""
    fake = FakePlaybooks()
    monkeypatch.setattr(ansible, "run_playbook", fake.run)
    for module in (bring_up, switch):
        monkeypatch.setattr(module.nodes, "effective_modes", fake.effective_modes)
        monkeypatch.setattr(module.nodes, "run", fake.on_nodes)
    return fake
