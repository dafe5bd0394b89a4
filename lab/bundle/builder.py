"""Components, their digests and the store: what is built, what is missing, and building one."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from lab.bundle import host_tools, kinds, schedule
from lab.bundle.component import Component, Components
from lab.bundle.kinds.base import Kind, Work
from lab.bundle.runner import Runner
from lab.bundle.store import Artifact, Store
from lab.bundle.times import Times
from lab.errors import BringUpError
from lab.progress import Progress


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
            for need in self.before(component):
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
        schedule.run(self, missing, progress)

    def build_one(self, component: Component, runner: Runner, say: Callable[[str], None]) -> Artifact:
        """Build one component whose needs are built, or wait for whoever is building it."""
        digest = self.digest(component.name)
        self.logs.mkdir(parents=True, exist_ok=True)
        kind = self.kind(component)
        with (
            self.store.lock(
                component.name,
                abandon=kind.abandon,
                waiting=lambda: say("another process is building it"),
                check=runner.check,
            ) as lock,
            self.store.staging(component.name) as folder,
        ):
            if done := self.store.get(component.name, digest):
                return done
            begun = time.monotonic()
            log = self.logs / f"{component.name}.log"
            log.write_bytes(b"")
            (out := folder / "out").mkdir()
            (scratch := folder / "scratch").mkdir()
            needs = {n.name: self.built(n.name) for n in map(self.components.resolve, self.before(component))}
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

    def before(self, component: Component) -> tuple[str, ...]:
        """The components that must be built before this one: what it is made from, and its tools."""
        return (*component.needs, *self.kind(component).tools())
