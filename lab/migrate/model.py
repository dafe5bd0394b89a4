"""What a check came to: `migrate.json`, and what `-o json` prints."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

FILE = "migrate.json"
VERSION: Literal[1] = 1
"""Of the format: it grows when a reader of the one before would no longer understand it."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Side(_Part):
    """What was measured in one of the two modes."""

    mode: str
    seen: str
    expected: str
    source: str = Field(description="why it is expected; empty where it is so in every mode")


class Concerned(_Part):
    """A Service of the user's that a change is about."""

    service: str = Field(description="NAMESPACE/NAME")
    because: str = Field(description="what of it: `nodePort 30080`")


class Change(_Part):
    """Something that was measured in both modes, and differs."""

    what: str
    behaviour: str = Field(description="by which it is declared; empty where it must be alike")
    clients: tuple[str, ...] = Field(description="who saw it: nodes, `pod`, `outside`")
    before: Side
    after: Side
    declared: bool = Field(description="whether both are as declared for their modes, and that differs")
    services: tuple[Concerned, ...]


class Failure(_Part):
    """A test that did not pass in one of the modes, or in both."""

    test: str
    node: str
    before: str = Field(description="passed, failed, skipped, unfinished, or `not run`")
    after: str
    message: str


class OneSided(_Part):
    """Something that was tested in one mode only."""

    name: str
    node: str
    mode: str = Field(description="the mode in which it was")
    reason: str = Field(description="why it was not in the other")


class Residue(_Part):
    """What kube-proxy itself left of the old mode."""

    removed: dict[str, tuple[str, ...]] = Field(description="node to what the switch removed")
    left: dict[str, tuple[str, ...]] = Field(description="node to what is there still")


class Comparison(_Part):
    """Both runs held against each other."""

    changes: tuple[Change, ...]
    alike: int = Field(ge=0, description="measured in both modes, and the same")
    passed: int = Field(ge=0, description="tests that passed in both modes")
    failures: tuple[Failure, ...]
    one_sided: tuple[OneSided, ...]
    complete: bool = Field(description="whether both runs of the suites came to their end")


class Migration(_Part):
    """Everything about one check."""

    version: Literal[1] = VERSION
    lab: str
    provider: str
    kubernetes: str
    before: str = Field(description="the mode it was asked to go from")
    after: str
    mode: str = Field(description="the mode the lab is in at the end")
    arguments: tuple[str, ...] = Field(description="pytest's own, as the user gave them")
    comparison: Comparison
    residue: Residue
    services: tuple[str, ...] = Field(description="the user's own, NAMESPACE/NAME")
    folder: str = Field(description="both runs' results and report")

    @property
    def undeclared(self) -> list[Change]:
        """The differences that nobody declared."""
        return [change for change in self.comparison.changes if not change.declared]

    @property
    def ok(self) -> bool:
        """Whether everything that differs is declared, everything passed, and nothing is left."""
        found = self.comparison
        return found.complete and not (self.undeclared or found.failures or self.residue.left)
