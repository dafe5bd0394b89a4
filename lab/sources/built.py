"""What sources have in common that build something: a builder for each release, and what providers boot."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path

from lab import paths
from lab.bundle.builder import Builder
from lab.bundle.component import Components
from lab.config import Config
from lab.errors import LabError
from lab.progress import Progress
from lab.sources.base import Source
from lab.versions import minor

Parts = Mapping[str, tuple[str, str]]
"""What a provider's machines are made of: component and the file in it, by the provider's name for it."""


def builder(version: str) -> Builder:
    """The builder for a Kubernetes release such as `1.37.2`."""
    return Builder(Components.load(paths.share("bundle"), minor(version)), paths.cache())


class BuiltSource(Source):
    """A source of which `components` are built here and kept in the store."""

    def __init__(self) -> None:
        self._builders: dict[str, Builder] = {}

    @abstractmethod
    def parts(self, config: Config) -> Parts:
        """What the lab's machines are made of; nothing for a provider that has machines of its own."""

    def faults(self, config: Config) -> list[str]:
        """Host tools that the build of what is missing needs, and faults in recipes."""
        try:
            return self.missing_packages(config)
        except LabError as error:
            return [str(error)]

    def missing_packages(self, config: Config) -> list[str]:
        """Debian packages that this host lacks to build what is missing; none when all is built."""
        return self._builder(config).missing_tools(self.components(config))

    def ensure(self, config: Config, progress: Progress) -> None:
        """Build what is missing for this lab."""
        self._builder(config).ensure(self.components(config), progress)

    def machine_image(self, config: Config) -> dict[str, Path]:
        """Kernel and disk for uml, the tree for podman, nothing for machines that are not made here."""
        built = self._builder(config).built
        parts = self.parts(config)
        return {part: built(component).folder / inside for part, (component, inside) in parts.items()}

    def _builder(self, config: Config) -> Builder:
        version = config.kubernetes.version
        if version not in self._builders:
            self._builders[version] = builder(version)
        return self._builders[version]
