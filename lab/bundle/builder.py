"""Builds what is missing: digests, the order, two at a time, one step of the display for each."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path

from lab.bundle import host_tools, kinds
from lab.bundle.component import Component, Components
from lab.bundle.kinds.base import Kind, Work
from lab.bundle.runner import Runner
from lab.bundle.store import Artifact, Store
from lab.bundle.times import Times
from lab.errors import BringUpError
from lab.progress import Progress, duration

# Two builds at once want this much memory free (MiB): linking Kubernetes takes about 3 GiB.
MEMORY_FOR_TWO = 6144


class Builder:
    """The components of a checkout, a store, and what is between them.

    Args:
        components: the recipes.
        cache: the folder with the store, the logs and the times of last builds.
    """

    def __init__(self, components: Components, cache: Path) -> None:
        self.components = components
        self.store = Store(cache / "store")
        self.logs = cache / "logs"
        self.times = Times(cache / "times.json")
        self._kinds: dict[str, Kind] = {}
        self._digests: dict[str, str] = {}

    def kind(self, component: Component) -> Kind:
        """The builder of a component."""
        if component.name not in self._kinds:
            self._kinds[component.name] = kinds.of(component)
        return self._kinds[component.name]

    def digest(self, name: str) -> str:
        """sha256 (hex) over everything a component is made from, its needs included."""
        component = self.components.resolve(name)
        if component.name not in self._digests:
            self.components.closure([component.name])  # raises if needs go in a circle
            total = hashlib.sha256(self.kind(component).recipe_digest().encode())
            for need in component.needs:
                total.update(self.digest(need).encode())
            self._digests[component.name] = total.hexdigest()
        return self._digests[component.name]

    def artifact(self, name: str) -> Artifact | None:
        """The artifact of a component as the recipes are now, or None if it is not built."""
        return self.store.get(self.components.resolve(name).name, self.digest(name))

    def built(self, name: str) -> Artifact:
        """The artifact of a component.

        Raises:
            BringUpError: it is not built.
        """
        artifact = self.artifact(name)
        if artifact is None:
            raise BringUpError(f"{name} is not built.", fix=f"lab bundle build {name}")
        return artifact

    def missing(self, names: Iterable[str]) -> list[Component]:
        """What must be built so that `names` are in the store, each after what it is made from."""
        order: dict[str, Component] = {}

        def visit(name: str) -> None:
            component = self.components.resolve(name)
            if component.name in order or self.artifact(component.name):
                return
            for need in self._before(component):
                visit(need)
            order[component.name] = component

        for name in names:
            visit(name)
        return list(order.values())

    def missing_tools(self, names: Iterable[str]) -> list[str]:
        """Debian packages that the host lacks to build what is missing of `names`."""
        wanted = {tool for component in self.missing(names) for tool in self.kind(component).host_tools()}
        return host_tools.missing(wanted)

    def ensure(self, names: Iterable[str], progress: Progress) -> None:
        """Build what is missing of `names`, and nothing else.

        Raises:
            PrerequisiteError: host tools are missing; all are named and nothing was touched.
            BuildError: a component failed; the others that were complete are kept.
        """
        names = list(names)
        missing = self.missing(names)
        if not missing:
            return
        if tools := self.missing_tools(names):
            raise host_tools.error(tools)
        _Run(self, missing, progress).go()

    def build_one(self, component: Component, runner: Runner, say: _Say) -> Artifact:
        """Build one component whose needs are built, or wait for whoever is building it."""
        digest = self.digest(component.name)
        self.logs.mkdir(parents=True, exist_ok=True)
        kind = self.kind(component)
        with (
            self.store.lock(component.name, abandon=kind.abandon) as lock,
            self.store.staging(component.name) as folder,
        ):
            if done := self.store.get(component.name, digest):
                return done
            begun = time.monotonic()
            log = self.logs / f"{component.name}.log"
            log.write_bytes(b"")
            (out := folder / "out").mkdir()
            (scratch := folder / "scratch").mkdir()
            needs = {
                n.name: self.built(n.name) for n in map(self.components.resolve, self._before(component))
            }
            work = Work(component, out, scratch, needs, runner, log, say, lock, digest=digest)
            version = kind.build(work)
            seconds = time.monotonic() - begun
            artifact = self.store.commit(
                out,
                name=component.name,
                version=version,
                digest=digest,
                seconds=seconds,
                facts=work.facts,
                trees=kind.trees,
            )
        self.times.note(component.name, seconds)
        return artifact

    def _before(self, component: Component) -> tuple[str, ...]:
        return (*component.needs, *self.kind(component).tools())


class _Say:
    """What one build says while it runs; several share the display."""

    def __init__(self, run: _Run, name: str) -> None:
        self._run, self._name = run, name

    def __call__(self, text: str) -> None:
        with self._run.mutex:
            self._run.progress.activity(f"{self._name}: {text}")


class _Run:
    """One `ensure`: starts what is ready, longest first, until nothing is left or one has failed."""

    def __init__(self, builder: Builder, missing: list[Component], progress: Progress) -> None:
        self.builder, self.missing, self.progress = builder, missing, progress
        self.mutex = threading.Lock()
        self._runner = Runner()
        self._started = 0

    def go(self) -> None:
        last = {c.name: self.builder.times.last(c.name) for c in self.missing}
        workers = 2 if (os.cpu_count() or 1) >= 2 and available_memory() >= MEMORY_FOR_TWO else 1
        waiting = {component.name: component for component in self.missing}
        running: dict[Future[Artifact], str] = {}
        known = [seconds for seconds in last.values() if seconds is not None]
        before = sum(known) / workers if len(known) == len(last) else None
        with (
            self.progress.step(f"Building {_counted(len(waiting))} from package mirrors", last=before),
            ThreadPoolExecutor(workers) as pool,
        ):
            try:
                while waiting or running:
                    unbuilt = set(waiting) | set(running.values())
                    ready = [c for c in waiting.values() if not unbuilt.intersection(self._before(c))]
                    ready.sort(key=lambda c: -(last[c.name] or 0))
                    for component in ready[: workers - len(running)]:
                        del waiting[component.name]
                        if not running and len(ready) == 1:
                            # Nothing to overlap with: done in this thread, where Ctrl-C arrives.
                            alone: Future[Artifact] = Future()
                            alone.set_result(self._one(component, last[component.name]))
                            self._collect(component.name, alone)
                            continue
                        running[pool.submit(self._one, component, last[component.name])] = component.name
                    for future in wait(running, return_when=FIRST_COMPLETED).done:
                        name = running.pop(future)
                        self._collect(name, future)
            except BaseException:
                self._runner.stop()
                raise

    def _before(self, component: Component) -> set[str]:
        resolve = self.builder.components.resolve
        kind = self.builder.kind(component)
        return {resolve(need).name for need in (*component.needs, *kind.tools())}

    def _one(self, component: Component, last: float | None) -> Artifact:
        with self.mutex:
            self._started += 1
            took = f" (took {duration(last)} last time)" if last is not None else ""
            self.progress.note(f"{self._started}/{len(self.missing)} {component.name}{took}")
        return self.builder.build_one(component, self._runner, _Say(self, component.name))

    def _collect(self, name: str, future: Future[Artifact]) -> None:
        try:
            artifact = future.result()
        except BringUpError as error:
            failed = type(error)(
                f"{name} could not be built: {error.what}", details=error.details, fix=error.fix
            )
            raise failed from error
        with self.mutex:
            seconds = duration(float(artifact.manifest["seconds"]))
            self.progress.note(f"{name} {artifact.version} in {seconds}")


def available_memory() -> int:
    """MiB of memory that this host could still give."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) // 1024
    return 0


def _counted(number: int) -> str:
    return f"{number} component{'' if number == 1 else 's'}"
