"""What a night runs: a lab for each provider and Kubernetes version, tested in every mode it can serve."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from lab import checks, config_file, host, providers, sources
from lab.config import PROXY_MODES, Config, from_values
from lab.config_cross import nearest
from lab.errors import InputError, LabError, PrerequisiteError
from lab.nightly.results import Cell
from lab.progress import Progress
from lab.state import LabState
from lab.versions import known, minor


class Matrix(BaseModel):
    """The three axes, and what is left out of their product. An empty axis: all that this host can serve.

    A version is a release (`1.37.2`) or a minor (`1.37`), which is the newest release of it there is.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    providers: tuple[str, ...] = ()
    kubernetes: tuple[str, ...] = ()
    modes: tuple[str, ...] = ()
    exclude: tuple[dict[str, str], ...] = ()

    def leaves_out(self, cell: Cell) -> bool:
        """Whether one of `exclude` describes this cell: every key it says is the cell's."""
        values = {
            "provider": (cell.provider,),
            "mode": (cell.mode,),
            "kubernetes": (cell.kubernetes, cell.minor),
        }
        return any(all(value in values[key] for key, value in one.items()) for one in self.exclude)


@dataclass(frozen=True)
class PlannedLab:
    """One lab of the night, and the modes it is tested in."""

    config: Config
    modes: tuple[str, ...]

    @property
    def cells(self) -> list[Cell]:
        """Its places in the matrix."""
        release = self.config.kubernetes.version
        return [Cell(self.config.provider, release, mode) for mode in self.modes]


def load(path: Path | None, **flags: Sequence[str]) -> Matrix:
    """The matrix of a YAML file; flags beat the file, axis by axis.

    Raises:
        InputError: with every fault there is.
    """
    values = config_file.parse(config_file.read(path), str(path)) if path else {}
    values |= {axis: list(said) for axis, said in flags.items() if said}
    try:
        matrix = Matrix.model_validate(values)
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()]
    else:
        faults = list(_faults(matrix))
    if faults:
        raise InputError(
            f"{len(faults)} fault{'s' if len(faults) > 1 else ''} in the matrix; nothing was touched.",
            details=faults,
            fix="axes are providers, kubernetes and modes; a version with only a minor is put in quotes",
        )
    return matrix


def _faults(matrix: Matrix) -> Iterator[str]:
    for axis, said, there in (
        ("providers", matrix.providers, tuple(providers.PROVIDERS)),
        ("modes", matrix.modes, PROXY_MODES),
        ("kubernetes", matrix.kubernetes, (*known(), *minors())),
    ):
        for word in said:
            if word not in there:
                yield f"{axis}: {word} is not known{nearest(word, there)}"
    for number, one in enumerate(matrix.exclude):
        for key in one:
            if key not in ("provider", "kubernetes", "mode"):
                yield f"exclude[{number}].{key} is no axis (there are: provider, kubernetes, mode)"


def minors() -> tuple[str, ...]:
    """Every minor the source has, the newest first."""
    return tuple(dict.fromkeys(map(minor, known())))


def release(version: str) -> str:
    """The release that is meant: itself, or the newest one of a minor."""
    return next((one for one in known() if one == version or one.startswith(f"{version}.")), version)


def plan(
    matrix: Matrix, base: Config, progress: Progress, *, install_missing: bool = False
) -> tuple[PlannedLab, ...]:
    """The labs of a night. What nobody asked for by name and this host cannot serve is left out, saying so.

    Args:
        matrix: what is asked for.
        base: what every lab has besides.
        progress: is told what is left out.
        install_missing: install missing Debian packages, as root.

    Raises:
        PrerequisiteError: this host cannot serve what was asked for by name, or nothing at all.
        InputError: nothing is left to run.
    """
    releases = tuple(dict.fromkeys(release(version) for version in matrix.kubernetes)) or tuple(
        release(minor) for minor in minors()
    )
    labs, faults = [], []
    for name in matrix.providers or providers.PROVIDERS:
        for version in releases:
            try:
                config = _with(base, provider=name, version=version)
                found = _checked(config, progress, install_missing=install_missing)
                bad = [f"{check.name}: {check.found}" for check in found if check.needed and not check.ok]
            except LabError as error:  # a provider that wants more of the configuration than there is
                bad = list(error.details) or [error.what]
            if bad:
                faults += [f"{name}, Kubernetes {version}: {fault}" for fault in bad]
                if not matrix.providers:
                    progress.note(
                        f"Left out, this host cannot serve it: {name}, Kubernetes {version}: {bad[0]}"
                    )
            elif modes := _modes(matrix, config):
                labs.append(PlannedLab(config.with_mode(modes[0]), modes))
    if faults and (matrix.providers or not labs):
        raise PrerequisiteError(
            "This host cannot serve the matrix; nothing was touched.",
            details=list(dict.fromkeys(faults)),
            fix="lab doctor --provider NAME says what installs what is missing",
        )
    if not labs:
        raise InputError(
            "Nothing is left of the matrix; nothing was touched.",
            details=["every cell is excluded, or asks for a mode that no provider asked for can serve here"],
            fix="lab nightly --list without further flags shows what this host can serve",
        )
    return tuple(labs)


def _with(base: Config, *, provider: str, version: str) -> Config:
    overrides = {"provider": provider, "kubernetes.version": version}
    return from_values(config_file.overridden(base.model_dump(mode="json"), overrides))


def _checked(config: Config, progress: Progress, *, install_missing: bool) -> list[checks.Check]:
    state = LabState(config.name)
    provider, source = providers.get(config, state), sources.get(config.source)
    there: tuple[str, ...] = ()
    with contextlib.suppress(LabError):
        there = provider.proxy_modes()
    # The mode is the matrix's to choose: one that is there asks for nothing.
    able = config.with_mode(there[0]) if there else config
    found = checks.everything(able, state, provider, source)
    if install_missing and (names := checks.missing_packages(found)) and host.can_install():
        host.install(names, progress)
        found = checks.everything(able, state, provider, source)
    return found


def _modes(matrix: Matrix, config: Config) -> tuple[str, ...]:
    able = providers.get(config, LabState(config.name)).proxy_modes()
    cells = (
        Cell(config.provider, config.kubernetes.version, mode)
        for mode in matrix.modes or PROXY_MODES
        if mode in able
    )
    return tuple(cell.mode for cell in cells if not matrix.leaves_out(cell))
