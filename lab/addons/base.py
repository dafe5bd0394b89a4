"""What every add-on is: its keys in `lab.yaml`, what it is made of, and what the playbooks are told."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:  # the configuration has the add-ons in it
    from lab.bundle.store import Artifact
    from lab.config import Config

    Built = Callable[[str], Artifact]
    """The artifact of a component of the bundle, by its name."""


class Addon(BaseModel):
    """One add-on that is asked for; its fields are its keys in `lab.yaml`.

    The playbooks have a role by its name, which is run on the control plane once the cluster is there.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    images: ClassVar[tuple[str, ...]]
    """The components whose images every node gets."""
    components: ClassVar[tuple[str, ...]] = ()
    """The other components it uses."""

    @abstractmethod
    def faults(self, config: Config) -> Iterator[tuple[str, str]]:
        """What of it does not go with the rest of the lab: one of its keys, and what is wrong."""

    @abstractmethod
    def extravars(self, config: Config, built: Built) -> Mapping[str, Any]:
        """The variables of its role, and what it asks of other roles."""
