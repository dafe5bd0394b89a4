"""Building several components: each after its needs, two at a time, Ctrl-C ending all."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING

from lab import host
from lab.bundle.component import Component
from lab.bundle.runner import Runner
from lab.bundle.store import Artifact
from lab.errors import LabError
from lab.progress import Progress, duration

if TYPE_CHECKING:
    from lab.bundle.builder import Builder

# Downloads and single-threaded links leave a processor idle. Two at once want this much memory free (MiB):
# linking Kubernetes takes about 3 GiB.
MEMORY_FOR_TWO = 6144


def run(builder: Builder, missing: list[Component], progress: Progress) -> None:
    """Build components, longest first among those that are ready, until nothing is left or one has failed.

    Raises:
        LabError: what one of them raised, with its name.
    """
    _Run(builder, missing, progress).go()


class _Run:
    def __init__(self, builder: Builder, missing: list[Component], progress: Progress) -> None:
        self._builder, self._missing, self._progress = builder, missing, progress
        self._last = {component.name: builder.times.last(component.name) for component in missing}
        self._mutex = threading.Lock()
        self._runner = Runner()
        self._started = 0

    def go(self) -> None:
        workers = 2 if (os.cpu_count() or 1) >= 2 and host.memory_available() >= MEMORY_FOR_TWO else 1
        waiting = {component.name: component for component in self._missing}
        running: dict[Future[Artifact], str] = {}
        known = [seconds for seconds in self._last.values() if seconds is not None]
        before = sum(known) / workers if len(known) == len(self._last) else None
        title = f"Building {len(waiting)} component{'' if len(waiting) == 1 else 's'} from package mirrors"
        with self._progress.step(title, last=before), ThreadPoolExecutor(workers) as pool:
            try:
                while waiting or running:
                    ready = self._ready(waiting, running.values())
                    if not running and len(ready) == 1:
                        # Nothing to overlap with: done in this thread, where Ctrl-C arrives.
                        self._one(waiting.pop(ready[0].name))
                        continue
                    for component in ready[: workers - len(running)]:
                        running[pool.submit(self._one, waiting.pop(component.name))] = component.name
                    for future in wait(running, return_when=FIRST_COMPLETED).done:
                        running.pop(future)
                        future.result()
            except BaseException:
                self._runner.stop()
                raise

    def _ready(self, waiting: dict[str, Component], running: Iterable[str]) -> list[Component]:
        """Those whose needs are built, longest first by what they took last time."""
        unbuilt = {*waiting, *running}
        resolve = self._builder.components.resolve
        ready = [
            component
            for component in waiting.values()
            if unbuilt.isdisjoint(resolve(need).name for need in self._builder.before(component))
        ]
        return sorted(ready, key=lambda component: -(self._last[component.name] or 0))

    def _one(self, component: Component) -> Artifact:
        name, last = component.name, self._last[component.name]
        with self._mutex:
            self._started += 1
            took = f" (took {duration(last)} last time)" if last is not None else ""
            self._progress.note(f"{self._started}/{len(self._missing)} {name}{took}")
        try:
            artifact = self._builder.build_one(component, self._runner, lambda text: self._say(name, text))
        except LabError as error:
            error.what = f"{name} could not be built: {error.what}"
            raise
        with self._mutex:
            seconds = duration(float(artifact.manifest["seconds"]))
            self._progress.note(f"{name} {artifact.version} in {seconds}")
        return artifact

    def _say(self, name: str, text: str) -> None:
        with self._mutex:
            self._progress.activity(f"{name}: {text}")
