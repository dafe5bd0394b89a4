"""The source `bundle`: everything is built from package mirrors and kept in the store."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lab import paths, vagrant_box
from lab.bundle.builder import Builder
from lab.bundle.component import Components
from lab.bundle.kinds import disk
from lab.config import Config
from lab.errors import LabError
from lab.progress import Progress
from lab.sources.base import Source

DISK = "node-disk"
# What each provider's machines are made of: component and the file in it, by the provider's name for it.
# A provider that is not here has machines of its own, which get from this host what is baked for the others.
PARTS: Mapping[str, Mapping[str, tuple[str, str]]] = {
    "uml": {"kernel": ("kernel", "linux"), "disk": (DISK, "disk.img")},
    "podman": {"tree": ("node-tree", "root")},
    vagrant_box.NAME: {"box": vagrant_box.PART},
}
# Components with programs for the operator.
PROGRAMS = {"kubectl": "kubernetes", "kubeadm": "kubernetes", "prober": "prober"}


def builder(version: str) -> Builder:
    """The builder for a Kubernetes release such as `1.37.2`."""
    minor = ".".join(version.split(".")[:2])
    return Builder(Components.load(paths.share("bundle"), minor), paths.cache())


def machines(config: Config) -> str:
    """Whose parts a lab's machines are made of: the provider's, or those of the box that is built here."""
    own = config.provider == "vagrant" and config.vagrant.box == vagrant_box.NAME
    return vagrant_box.NAME if own else config.provider


def wanted(provider: str, make: Builder) -> list[str]:
    """The components that a lab of that provider uses directly."""
    parts = {component for component, _ in PARTS[provider].values()} if provider in PARTS else installed(make)
    return sorted({*parts, *PROGRAMS.values()})


def installed(make: Builder) -> set[str]:
    """The components that the disk has in it: all but those that it is made of and booted with."""
    spec = disk_spec(make)
    return set(make.components.resolve(DISK).needs) - {spec.root, spec.kernel}


def disk_spec(make: Builder) -> disk.DiskSpec:
    """The disk's recipe."""
    kind = make.kind(make.components.resolve(DISK))
    assert isinstance(kind, disk.Disk)
    return kind.spec


class BundleSource(Source):
    """Gives what `lab bundle build` makes; builds it where it is missing."""

    def __init__(self) -> None:
        self._builders: dict[str, Builder] = {}

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
        parts = PARTS.get(machines(config), {})
        return {part: built(component).folder / inside for part, (component, inside) in parts.items()}

    def extravars(self, config: Config) -> dict[str, Any]:
        """What is on the disk, for machines that are prepared, and where it is on this host, for others."""
        make = self._builder(config)
        store = make.store.root
        baked = machines(config) in PARTS
        if baked:
            # A tree notes what its disk did; the disk itself need not be in the store for it.
            name = next(c for c, _ in PARTS[machines(config)].values() if c.startswith("node-"))
            facts = make.built(name).facts
        else:
            facts = disk.contents(disk_spec(make), {name: make.built(name) for name in installed(make)})
        told = disk.extravars(facts, make.digest(DISK), lambda inside: str(store / inside), remote=False)
        return {**told, "machines_baked": baked}

    def program(self, config: Config, name: str) -> Path:
        """kubectl, kubeadm or prober."""
        return self._builder(config).built(PROGRAMS[name]).folder / "bin" / name

    def components(self, config: Config) -> list[str]:
        """All of it."""
        return wanted(machines(config), self._builder(config))

    def _builder(self, config: Config) -> Builder:
        version = config.kubernetes.version
        if version not in self._builders:
            self._builders[version] = builder(version)
        return self._builders[version]
