"""What every kind of component does: say what it needs, and build into a folder."""

from __future__ import annotations

import hashlib
import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import IO, Any, ClassVar

from pydantic import BaseModel, ConfigDict, ValidationError

from lab.bundle.component import Component
from lab.bundle.runner import Runner
from lab.bundle.store import Artifact
from lab.errors import InputError

# A build that is killed may leave a machine running; the record that ends it is here in the scratch folder.
RECORD = "machines.json"


class Spec(BaseModel):
    """The keys of a recipe that every kind has."""

    model_config = ConfigDict(extra="forbid", frozen=True, coerce_numbers_to_str=True)

    kind: str
    version: str = ""
    needs: tuple[str, ...] = ()
    host_tools: tuple[str, ...] = ()


@dataclass
class Work:
    """One build: where it puts things and how it runs commands."""

    component: Component
    out: Path
    scratch: Path
    needs: Mapping[str, Artifact]
    runner: Runner
    log: Path
    note: Callable[[str], None]
    lock: IO[bytes] | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    digest: str = ""

    def need(self, name: str) -> Artifact:
        """The artifact of a need, by the name the recipe uses: a family's name finds its member."""
        if name in self.needs:
            return self.needs[name]
        return next(a for key, a in self.needs.items() if key.startswith(f"{name}-"))

    def run(
        self,
        argv: Sequence[str | Path],
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        output: Path | None = None,
        timeout: float = 5400,
    ) -> None:
        """Run a command to its end; see `Runner.run`."""
        self.runner.run(argv, log=self.log, lock=self.lock, env=env, cwd=cwd, output=output, timeout=timeout)


class Kind(ABC):
    """Builds components of one kind.

    Raises:
        InputError: the recipe has faults; all of them are named.
    """

    spec_class: ClassVar[type[Spec]] = Spec
    # Modules besides the kind's own whose code decides what comes out.
    code: ClassVar[tuple[ModuleType, ...]] = ()
    # Sub-folders of the output that are a machine's root.
    trees: ClassVar[tuple[str, ...]] = ()

    def __init__(self, component: Component) -> None:
        self.component = component
        try:
            self.base_spec = self.spec_class.model_validate(dict(component.values))
        except ValidationError as invalid:
            faults = [f"{'.'.join(str(p) for p in e['loc'])}: {e['msg']}" for e in invalid.errors()]
            raise InputError(f"The recipe of {component.name} has faults.", details=faults) from invalid

    def host_tools(self) -> tuple[str, ...]:
        """What the host must have, as `lab.bundle.host_tools` names it."""
        return self.base_spec.host_tools

    def tools(self) -> tuple[str, ...]:
        """Components that only help in building (a compiler): built before, not part of the digest."""
        return ()

    def inputs(self) -> Mapping[str, str]:
        """Digests of whatever else decides what comes out."""
        return {}

    def recipe_digest(self) -> str:
        """sha256 (hex) over the folder, the kind's code and `inputs`."""
        total = hashlib.sha256(self.component.content().encode())
        for module in (inspect.getmodule(type(self)), *self.code):
            assert module is not None  # every class has one
            total.update(inspect.getsource(module).encode())
        for key, value in sorted(self.inputs().items()):
            total.update(f"{key}={value}\n".encode())
        return total.hexdigest()

    def abandon(self, leftover: Path) -> None:
        """Before what a killed build left is removed: end the machine that may still write there."""
        from lab.netns import Namespace  # noqa: PLC0415 -- only where there is something to end

        if namespace := Namespace.load(leftover / "scratch" / RECORD):
            namespace.destroy()

    @abstractmethod
    def build(self, work: Work) -> str:
        """Build into `work.out`, note facts in `work.facts`, and return the true version of what came out."""
