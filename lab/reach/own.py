"""A lab of this user's: the API through the forwarded port, the nodes by ssh."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from lab import nodes, shell, sources
from lab.config import Config
from lab.errors import BringUpError
from lab.providers.base import Provider
from lab.reach.base import Reach
from lab.state import LabState


class OwnLab(Reach):
    """A living lab.

    Raises:
        BringUpError: it has no kubeconfig.
    """

    is_lab: ClassVar[bool] = True

    def __init__(self, config: Config, state: LabState, provider: Provider) -> None:
        if not state.kubeconfig.is_file():
            raise BringUpError(
                f"The lab {state.name!r} has no kubeconfig: it was not brought up whole.", fix="lab up"
            )
        super().__init__(sources.get(config.source).program(config, "kubectl"), state.kubeconfig)
        self._config, self._state, self._provider = config, state, provider

    def run(
        self, script: str, *, timeout: float = 30, only: Iterable[str] | None = None
    ) -> dict[str, shell.Result]:
        """See `Reach.run`."""
        return nodes.run(self._config, self._state, self._provider, script, timeout=timeout, only=only)
