"""The table of providers: a new one is a file here and a line there."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lab.config import Config
    from lab.providers.base import Provider
    from lab.state import LabState

PROVIDERS = {
    "uml": "lab.providers.uml:UmlProvider",
    "podman": "lab.providers.podman:PodmanProvider",
    "ssh": "lab.providers.ssh:SshProvider",
    "vagrant": "lab.providers.vagrant:VagrantProvider",
}


def get(config: Config, state: LabState) -> Provider:
    """The provider of a lab, loaded only now: some need what not every host has."""
    module, _, name = PROVIDERS[config.provider].partition(":")
    provider: Provider = getattr(import_module(module), name)(config, state)
    return provider
