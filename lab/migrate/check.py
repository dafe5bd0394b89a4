"""The check itself: the suites in one mode, the switch, the suites in the other, and back again."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lab import ansible, nodes, proxy, suites, switch
from lab.config import Config
from lab.errors import InputError
from lab.migrate import services
from lab.migrate.compare import compare
from lab.migrate.model import FILE, Migration, Residue
from lab.progress import Progress
from lab.providers.base import Provider
from lab.proxy.residue import residue
from lab.reach.own import OwnLab
from lab.report import facts, model
from lab.report import folder as run_folder
from lab.state import LabState, write_json


@dataclass
class Check:
    """One check of a living lab.

    Args:
        config: the lab as it is; follows it through the modes.
        before: the mode to go from.
        after: the mode to go to.
        args: pytest's own arguments, for both runs.
        timeout: seconds for one run of the suites.
        stay: leave the lab in `after`; otherwise it goes back to the mode it was in.
        shown: show what pytest prints; otherwise it goes to a file in the run's folder.
    """

    config: Config
    state: LabState
    provider: Provider
    progress: Progress
    before: str
    after: str
    args: Sequence[str] = ()
    timeout: float = 3600
    stay: bool = False
    shown: bool = False
    going: str = field(default="", init=False)
    """The mode to which the lab is being switched right now."""

    def run(self) -> Migration:
        """Do all of it.

        Raises:
            InputError: no two modes, or pytest does not understand the arguments; nothing was touched.
            PrerequisiteError: the nodes' kernel cannot serve one of the modes; nothing was touched.
            LabError: the lab could not be switched, or the suites did not end in time; it is said in which
                mode the lab is then.
            KeyboardInterrupt: Ctrl-C; the same.
        """
        self._require()
        home = self.config.proxy.mode
        reach = OwnLab(self.config, self.state, self.provider)
        theirs = services.own(reach.items("/api/v1/services"), reach.items("/api/v1/namespaces"))
        folder = self.state.new_run("migrate-check")
        about = facts.gather(self.config, self.state, self.provider, arguments=list(self.args))
        with self._told(home), run_folder.recorded(folder, about):
            self._go(self.before)
            self._test(folder)
            switched = self._go(self.after)
            still = self._left()
            self._test(folder)
            if not self.stay:
                self._go(home)
        report = model.Report.model_validate_json((folder / model.FILE).read_text())
        found = Migration(
            lab=self.state.name,
            provider=self.config.provider,
            kubernetes=self.config.kubernetes.version,
            before=self.before,
            after=self.after,
            mode=self.config.proxy.mode,
            arguments=tuple(self.args),
            comparison=compare(report, self.before, self.after, theirs),
            residue=Residue(removed=switch.removed(switched) if switched else {}, left=still),
            services=tuple(service.name for service in theirs),
            folder=str(folder),
        )
        write_json(folder / FILE, found.model_dump(mode="json"))
        return found

    def _require(self) -> None:
        """See that it can be done, before anything is touched."""
        for mode in (self.before, self.after):
            switch.check(mode, config=self.config, provider=self.provider)
        if self.before == self.after:
            raise InputError(
                f"From {self.before} to {self.after} nothing changes.", fix="name two different modes"
            )
        suites.check(self.state.name, self.args)

    def _go(self, mode: str) -> ansible.Run | None:
        """Have the lab in a mode; None where it is."""
        if mode == self.config.proxy.mode:
            return None
        self.going = mode
        run = switch.to(
            mode, config=self.config, state=self.state, provider=self.provider, progress=self.progress
        )
        self.config = self.config.with_mode(mode)
        self.going = ""
        return run

    def _test(self, folder: Path) -> None:
        """Run them in the mode that is on."""
        mode = self.config.proxy.mode
        log = None if self.shown else folder / f"pytest-{mode}.log"
        with self.progress.step(f"Suites in {mode} mode"):
            verdict = suites.run_or_tell(
                self.config,
                self.state,
                self.provider,
                args=self.args,
                folder=folder,
                timeout=self.timeout,
                progress=self.progress,
                log=log,
            )
        self.progress.note(f"{verdict.passed} passed, {verdict.failed} failed, {verdict.skipped} skipped")

    def _left(self) -> dict[str, tuple[str, ...]]:
        """Node to what is there of another mode than the one that is on."""
        mode = self.config.proxy.mode
        said = nodes.run(self.config, self.state, self.provider, proxy.script())
        found = {name: residue(mode, proxy.split(result.stdout)) for name, result in said.items()}
        return {name: tuple(things) for name, things in found.items() if things}

    @contextlib.contextmanager
    def _told(self, home: str) -> Iterator[None]:
        """Whoever is left with the lab because the check was cut off is told where it is."""
        try:
            yield
        except BaseException:
            back = shlex.join(["lab", "proxy-mode", "--name", self.state.name, home])
            mode = self.config.proxy.mode
            if self.going:
                self.progress.warn(
                    f"The switch to {self.going} was cut off: nodes may serve by different modes. "
                    f"One mode on all of them again: {back}"
                )
            elif mode != home:
                self.progress.warn(f"The lab {self.state.name!r} is in {mode} mode. Back to {home}: {back}")
            else:
                self.progress.warn(f"The lab {self.state.name!r} is in {mode} mode, as it was.")
            raise
