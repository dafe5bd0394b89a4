"""What a lab may have besides Kubernetes. A new add-on is one file, a role, a line in `AddonsConfig`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, SerializerFunctionWrapHandler, model_serializer

from lab.addons.base import Addon
from lab.addons.metallb import Metallb

if TYPE_CHECKING:
    from lab.addons.base import Built
    from lab.config import Config

One = TypeVar("One", bound=Addon)
# A name with nothing after it, as YAML has it, asks for the add-on as it is by default.
Asked = Annotated[One | None, BeforeValidator(lambda value: {} if value is None else value)]


class AddonsConfig(BaseModel):
    """What the lab has besides Kubernetes; nothing unless it is named here."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    metallb: Asked[Metallb] = None

    @model_serializer(mode="wrap")
    def _named(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Only those that are asked for: a name alone would ask for the others too."""
        return {name: said for name, said in handler(self).items() if said is not None}

    @property
    def asked(self) -> Mapping[str, Addon]:
        """Those that are asked for, by name."""
        found = ((name, getattr(self, name)) for name in type(self).model_fields)
        return {name: addon for name, addon in found if addon is not None}

    @property
    def components(self) -> list[str]:
        """What of the bundle they use."""
        return [name for addon in self.asked.values() for name in (*addon.images, *addon.components)]

    def extravars(self, config: Config, built: Built) -> dict[str, Any]:
        """What the playbooks are told of them; nothing where none is asked for."""
        told: dict[str, Any] = {}
        for addon in self.asked.values():
            told |= addon.extravars(config, built)
        images = [name for addon in self.asked.values() for name in addon.images]
        return told | {
            "addons": list(self.asked),
            "addon_images": [
                {"src": str(built(name).folder / "image.tar"), "name": built(name).facts["image"]}
                for name in images
            ],
        }
