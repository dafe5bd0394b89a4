"""All that the suites are given of a cluster that no lab made: what a survey found, and the ways in."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict

from lab.reach.survey import Survey

FILE = "cluster.json"


class Given(BaseModel):
    """Written for the tests' processes by the one that keeps the pods on the nodes alive."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    survey: Survey
    kubectl: Path
    kubeconfig: Path
    run: str
    """The run's name, and the namespace of the pods that stand for the nodes."""
    until: str
    """When the run is over for certain."""
    pods: dict[str, str]
    """Node to the pod that stands for it."""
    container: str
    prepare: str
    """What a script in such a pod begins with, so that it finds the node's programs."""
    images: dict[str, str]
    """The image to use by the name of the lab's own (`tools`, `mytest`), where one was named."""
    not_outside: str
    """Why this machine is no client of the cluster's nodes; empty where it is one."""
    disruptive: bool
    """Whether the user agreed to tests that disturb the whole cluster."""

    @classmethod
    def read(cls, file: Path) -> Given:
        """What `write` wrote."""
        return cls.model_validate_json(file.read_text())

    def write(self, file: Path) -> Path:
        """Keep it in a file of this user's alone."""
        file.touch(mode=0o600)
        file.write_text(self.model_dump_json(indent=2))
        return file
