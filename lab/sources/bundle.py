"""The source `bundle`: everything is built from package mirrors and kept in the store."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lab import vagrant_box
from lab.bundle.builder import Builder
from lab.bundle.kinds import disk
from lab.config import Config
from lab.sources.built import BuiltSource, Parts

DISK = "node-disk"
# What each provider's machines are made of: component and the file in it, by the provider's name for it.
# A provider that is not here has machines of its own, which get from this host what is baked for the others.
PARTS: Mapping[str, Parts] = {
    "uml": {"kernel": ("kernel", "linux"), "disk": (DISK, "disk.img")},
    "podman": {"tree": ("node-tree", "root")},
    vagrant_box.NAME: {"box": vagrant_box.PART},
}
# Components with programs for the operator.
PROGRAMS = {"kubectl": "kubernetes", "kubeadm": "kubernetes", "prober": "prober"}


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


class BundleSource(BuiltSource):
    """Gives what `lab bundle build` makes; builds it where it is missing."""

    def parts(self, config: Config) -> Parts:
        """Baked machines."""
        return PARTS.get(machines(config), {})

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
        return {**told, "machines_baked": baked, **config.addons.extravars(config, make.built)}

    def program(self, config: Config, name: str) -> Path:
        """kubectl, kubeadm or prober."""
        return self._builder(config).built(PROGRAMS[name]).folder / "bin" / name

    def components(self, config: Config) -> list[str]:
        """All of it, and what the add-ons are made of that the lab asks for."""
        return [*wanted(machines(config), self._builder(config)), *config.addons.components]
