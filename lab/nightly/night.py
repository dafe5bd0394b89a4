"""One night: every lab of the plan is raised, tested in each mode and taken down, whatever happens."""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from lab import bring_up, evidence, leftovers, providers, shell, suites, switch, take_down
from lab.config import Config
from lab.errors import LabError
from lab.nightly import report
from lab.nightly.guard import alone, mark, take_leftovers_down
from lab.nightly.history import History
from lab.nightly.matrix import PlannedLab
from lab.nightly.results import (
    FAILED,
    FILE,
    PASSED,
    SKIPPED,
    Cell,
    CellResult,
    NightResult,
    cases,
    stamp,
    too_old,
)
from lab.progress import Progress
from lab.providers.base import Provider
from lab.state import LabState


@dataclass
class Night:
    """How a night is run, and where its results go.

    Args:
        name: the name of its labs, one after the other.
        output: the folder of all nights.
        keep: days for which the history and the nights' folders are kept.
        args: pytest's arguments for every run of the suites.
        prepare: a shell command that is run once each lab is up, with `LAB_NAME` and `KUBECONFIG` set.
        timeout: seconds for one run of the suites.
    """

    name: str
    output: Path
    progress: Progress
    keep: int = 90
    args: Sequence[str] = ()
    prepare: str | None = None
    timeout: float = 3600
    result: NightResult = field(default_factory=lambda: NightResult(stamp()))

    @property
    def folder(self) -> Path:
        """This night's own folder."""
        return self.output / self.result.stamp

    def run(self, plan: Callable[[], Sequence[PlannedLab]]) -> NightResult:
        """Run the whole night, and tell it; what there is so far is kept after each lab.

        Args:
            plan: says what is run, once nothing of another night is in the way.

        Raises:
            BringUpError: another night is being run, or a lab cannot be taken down.
            InputError: there is a lab of that name which no night raised, or the history cannot be read.
            KeyboardInterrupt: Ctrl-C; the lab is taken down, and what was learned is kept.
        """
        state = LabState(self.name)
        with alone() as killed:
            take_leftovers_down(state, self.progress, killed=killed)
            labs = plan()
            with self.recording() as tell:
                for number, planned in enumerate(labs, start=1):
                    where = f"{planned.config.provider}, Kubernetes {planned.config.kubernetes.version}"
                    with self.progress.step(f"Lab {number} of {len(labs)}: {where}"):
                        self._lab(planned, state)
                    tell(number < len(labs))
        return self.result

    @contextlib.contextmanager
    def recording(self) -> Iterator[Callable[[bool], None]]:
        """Open this night's folder; what is yielded writes all there is so far, told whether that is not all.

        Raises:
            InputError: the history cannot be read.
        """
        history = History.read(self.output)
        while self.folder.exists():  # two within a second
            time.sleep(0.1)
            self.result.stamp = stamp()
        self.folder.mkdir(parents=True)
        self.result.host = {"kernel": platform.release(), "processors": str(len(os.sched_getaffinity(0)))}

        def tell(interrupted: bool) -> None:
            """This night's own files, the history, and the page."""
            self.result.interrupted = interrupted
            self.result.write(self.folder)
            history.put(self.result)
            history.forget(before=self.result.stamp, days=self.keep)
            history.write()
            forget(self.output, before=self.result.stamp, days=self.keep)
            report.write(self.output, self.result, history)

        self.result.write(self.folder)  # killed from now on, it is a night that was interrupted
        try:
            yield tell
        except BaseException:
            tell(True)
            raise

    def _lab(self, planned: PlannedLab, state: LabState) -> None:
        mark(state)
        try:
            self._modes(planned, state)
        finally:
            take_down.down(state, self.progress)

    def _modes(self, planned: PlannedLab, state: LabState) -> None:
        config, provider = planned.config, providers.get(planned.config, state)
        folder = self.folder / f"{config.provider}-{config.kubernetes.version}"
        folder.mkdir()
        parts = suites.parts(self.args, disruptive=True, name=state.name)
        failed: LabError | None = None
        for cell in planned.cells:
            if failed:
                unreached = CellResult(cell, error=f"not reached: {failed.what}", code=int(failed.code))
                self.result.cells.append(unreached)
                continue
            since = time.monotonic()
            try:
                config = self._serve(cell, config, state)
                found = self._suites(cell, state, folder, parts)
            except LabError as error:
                failed = error
                seconds = time.monotonic() - since
                found = CellResult(cell, seconds=seconds, error=str(error), code=int(error.code))
                self.progress.warn(f"{cell.key}: {error}")
            self.result.cells.append(found)
            if found.exit:
                self._keep_evidence(config, state, provider, folder / f"evidence-{cell.mode}")

    def _serve(self, cell: Cell, config: Config, state: LabState) -> Config:
        """Have the lab up and in the cell's mode."""
        if not state.finished_file.exists():
            bring_up.up(config, self.progress)
            if self.prepare:
                self._prepare(state)
        if cell.mode != config.proxy.mode:
            provider = providers.get(config, state)
            switch.to(cell.mode, config=config, state=state, provider=provider, progress=self.progress)
        return config.with_mode(cell.mode)

    def _prepare(self, state: LabState) -> None:
        run = state.new_run("prepare")
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
        env = {
            "PATH": path,
            "LAB_NAME": state.name,
            "KUBECONFIG": str(state.kubeconfig),
            **leftovers.mark(run),
        }
        with self.progress.step("Preparing it by the command given"):
            shell.run(["sh", "-c", str(self.prepare)], timeout=600, env=env, log=run / "prepare.log")

    def _suites(self, cell: Cell, state: LabState, folder: Path, parts: Sequence[suites.Part]) -> CellResult:
        config = state.read_config()
        assert config is not None  # it was brought up
        run = state.new_run("test")
        result = CellResult(cell)
        with self.progress.step(f"Suites in {cell.mode} mode"):
            for part, args in parts:
                try:
                    verdict = suites.run(
                        state,
                        providers.get(config, state),
                        mode=cell.mode,
                        args=args,
                        folder=run,
                        part=part,
                        timeout=self.timeout,
                        log=folder / f"pytest-{suites.of_part(cell.mode, part)}.log",
                    )
                except LabError as error:
                    if not result.junit:
                        raise
                    # What the part before it came to is kept.
                    result = replace(result, error=str(error), code=int(error.code))
                    break
                junit = Path(shutil.copy(verdict.junit, folder))
                result = replace(
                    result,
                    tests=(*result.tests, *cases(junit)),
                    seconds=result.seconds + verdict.seconds,
                    junit=result.junit or str(junit.relative_to(self.folder)),
                )
        counts = (f"{result.count(outcome)} {outcome}" for outcome in (PASSED, FAILED, SKIPPED))
        self.progress.note(", ".join(counts))
        for test in result.tests:
            if test.outcome == FAILED:
                self.progress.note(f"failed: {test.behaviour} at {test.place}: {test.message}")
        return result

    def _keep_evidence(self, config: Config, state: LabState, provider: Provider, into: Path) -> None:
        """What the lab's folder and its nodes tell of a failure: both are about to go."""
        with self.progress.step("Keeping the evidence"):
            into.mkdir()
            with contextlib.suppress(OSError):
                shutil.copytree(state.runs_dir, into / "runs", symlinks=True, ignore=_sockets)
            evidence.gather(config, state, provider, into)
            shutil.rmtree(into)


def _sockets(folder: str, names: list[str]) -> set[str]:
    """What is no file of a run and cannot be copied."""
    return {name for name in names if not (p := Path(folder, name)).is_file() and not p.is_dir()}


def forget(output: Path, *, before: str, days: int) -> None:
    """Remove the folders of nights that began more than `days` days before the night `before`."""
    for file in output.glob(f"*/{FILE}"):
        with contextlib.suppress(ValueError):  # not a night's
            if too_old(file.parent.name, before=before, days=days):
                shutil.rmtree(file.parent)
