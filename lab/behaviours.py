"""What the suites prove: every behaviour of Services as data, and the tests that prove it.

The data are `tests/conformance/behaviours/*.yaml`, one file an area. A test names the ids of what it proves:
`@pytest.mark.behaviour("clusterip-answers")`. What upstream verifies and the suites do not is listed too,
with the reason.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Self, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from lab import paths
from lab.config import ProxyMode
from lab.errors import LabError

MODES: tuple[ProxyMode, ...] = get_args(ProxyMode)


class Behaviour(BaseModel):
    """Something that a Service, or what stands around it, promises."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str = Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")
    says: str = Field(description="the promise, in a sentence")
    area: str = Field(default="", description="the file it stands in")
    upstream: tuple[str, ...] = Field(
        default=(),
        description="names of upstream's own end-to-end tests (kubernetes/kubernetes, test/e2e/network)",
    )
    conformance: bool = Field(default=False, description="whether upstream marks one of them [Conformance]")
    paths: tuple[str, ...] = Field(default=(), description="client → target")
    modes: tuple[ProxyMode, ...] = Field(default=MODES, description="the proxy modes it is proved in")
    disruptive: bool = Field(
        default=False, description="whether proving it disturbs others: run apart, and only when asked for"
    )
    fault: str = Field(default="", description="the fault that was made to see its test fail")
    not_covered: str = Field(default="", description="why no test proves it")

    @model_validator(mode="after")
    def _told_whole(self) -> Self:
        if self.not_covered and (self.fault or self.paths):
            raise ValueError(f"{self.id} is not covered, and yet has paths or a fault")
        if not self.not_covered and not (self.fault and self.paths):
            raise ValueError(
                f"{self.id} needs paths and the fault that makes it fail, or why it is not covered"
            )
        return self

    @property
    def covered(self) -> bool:
        """Whether a test proves it."""
        return not self.not_covered


def folder() -> Path:
    """Where the data are."""
    return paths.share("tests", "conformance", "behaviours")


@functools.cache
def load(within: Path | None = None) -> dict[str, Behaviour]:
    """All behaviours by id, in the order of the files and of what stands in them.

    Raises:
        LabError: a file is not what it should be, or two behaviours have one id; says which.
    """
    found: dict[str, Behaviour] = {}
    for file in sorted((within or folder()).glob("*.yaml")):
        for entry in yaml.safe_load(file.read_text()) or ():
            try:
                one = Behaviour.model_validate({**entry, "area": file.stem})
            except ValidationError as error:
                details = [str(fault["msg"]) for fault in error.errors()]
                raise LabError(f"{file} does not describe behaviours: {entry}.", details=details) from error
            if one.id in found:
                raise LabError(f"{file}: the id {one.id} is taken by {found[one.id].area}.")
            found[one.id] = one
    return found


def faults(known: Mapping[str, Behaviour], tests: Mapping[str, tuple[str, ...]]) -> list[str]:
    """Where the data and the tests disagree, each in a line; none where they agree.

    Args:
        known: the behaviours by id.
        tests: test to the ids that it names.
    """
    named = {one for ids in tests.values() for one in ids}
    return [
        *(
            f"{test} proves nothing that is known: give it a behaviour"
            for test, ids in tests.items()
            if not ids
        ),
        *(
            f"{test} names {one}, which is not among the behaviours"
            for test, ids in tests.items()
            for one in ids
            if one not in known
        ),
        *(
            f"{one.id} is said to be covered, but no test names it"
            for one in known.values()
            if one.covered and one.id not in named
        ),
        *(
            f"{one.id} is said not to be covered, but a test names it"
            for one in known.values()
            if not one.covered and one.id in named
        ),
    ]
