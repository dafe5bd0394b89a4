"""What every way to a cluster offers."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, ClassVar, Self

from lab import shell
from lab.errors import BringUpError, InputError

Object = dict[str, Any]

API_TIMEOUT = 30.0
"""Seconds for one answer of the API: five thousand Services with their slices take a few."""


class Reach(AbstractContextManager["Reach"], ABC):
    """The API and the nodes of one cluster; used in a `with`, so that what it made there is removed.

    Args:
        kubectl: the program.
        kubeconfig: the file it shall use.
    """

    is_lab: ClassVar[bool] = False
    """Whether the cluster is a lab of this user's, so that connections to its Services are welcome."""

    def __init__(self, kubectl: str | Path, kubeconfig: Path) -> None:
        self.program = kubectl
        self.kubeconfig = kubeconfig

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the cluster as it was."""

    def kubectl(
        self, *args: str, timeout: float = API_TIMEOUT, stdin: str | None = None, check: bool = True
    ) -> shell.Result:
        """Run kubectl on this cluster.

        Raises:
            BringUpError: it failed.
            WaitTimeout: `timeout` seconds passed.
        """
        argv = [self.program, f"--kubeconfig={self.kubeconfig}", *args]
        return shell.run(argv, timeout=timeout, input=stdin, check=check)

    def get(self, path: str) -> Object:
        """One answer of the API, `/api/v1/services` say, as it is.

        Raises:
            BringUpError: the API does not answer, or not with an object.
        """
        said = self.kubectl("get", "--raw", path, check=False)
        if not said.ok:
            raise BringUpError(
                "The cluster's API does not answer.",
                details=[f"{path}: {line}" for line in shell.tail(said.stderr)],
            )
        found: Object = json.loads(said.stdout)
        return found

    def items(self, path: str) -> list[Object]:
        """The items of a list."""
        found: list[Object] = self.get(path)["items"]
        return found

    @abstractmethod
    def run(
        self, script: str, *, timeout: float = 30, only: Iterable[str] | None = None
    ) -> dict[str, shell.Result]:
        """Run a shell script as root in the network of every node (or of these), on all at once.

        Returns:
            Result by the node's name; a node that does not answer in time has exit code 124.
        """


def node_named(name: str, known: Iterable[str]) -> str:
    """The node, if there is one of that name.

    Raises:
        InputError: there is none.
    """
    names = sorted(known)
    if name not in names:
        raise InputError(f"There is no node {name!r}.", details=[f"nodes: {', '.join(names)}"])
    return name
