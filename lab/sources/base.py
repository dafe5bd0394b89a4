"""Where Kubernetes and the machines' content come from: the seam of sources."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

from lab.config import Config
from lab.progress import Progress


class Source(ABC):
    """Gives a lab what it is made of. Making the object touches nothing."""

    @abstractmethod
    def faults(self, config: Config) -> list[str]:
        """Everything that stands in the way of `ensure` for this lab, as lines to show; touches nothing."""

    def missing_packages(self, config: Config) -> list[str]:
        """Debian packages that this host lacks for `ensure`; they are among the faults too."""
        del config
        return []

    @abstractmethod
    def components(self, config: Config) -> list[str]:
        """What of the bundle this lab uses directly."""

    @abstractmethod
    def ensure(self, config: Config, progress: Progress) -> None:
        """Build or fetch what is missing for this lab; quick when nothing is."""

    @abstractmethod
    def machine_image(self, config: Config) -> dict[str, Path]:
        """What the provider boots: `kernel` and `disk` for uml, `tree` for podman."""

    @abstractmethod
    def extravars(self, config: Config) -> dict[str, Any]:
        """What the playbooks install, as Ansible variables."""

    @abstractmethod
    def program(self, config: Config, name: str) -> Path:
        """A program for the operator: `kubectl`, `kubeadm` or `prober`."""
