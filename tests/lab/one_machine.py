"""One bare machine on which labs are formed in turn, by the steps of `lab up`, and which is then given back.

The steps are called here, not the command, which starts over with a fresh machine whatever is asked for next.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import pytest
from harness import Lab
from strangers import SNAPSHOT

from lab import ansible, bring_up, nodes, providers, sources
from lab.bring_up import BringUp
from lab.config import from_values
from lab.errors import BringUpError
from lab.progress import Progress
from lab.providers.podman import PodmanProvider
from lab.state import LabState

#: What is a volume on a container and on no other machine.
STORE = "/var/lib/containerd"
NODE = {"name": "master", "address": "192.168.1.200"}


@dataclass
class OneMachine:
    """The machine, by the run that has started it, and how it was then."""

    run: BringUp

    def __post_init__(self) -> None:
        self.before = self.snapshot()

    def refusal(self, values: Mapping[str, Any]) -> list[str]:
        """Form the cluster of another configuration on it, which must fail; what the error says, by lines."""
        config, folder = self.config(self.run.config.name, values), self.run.state.new_run("site")
        run = replace(self.run, config=config, folder=folder)
        with pytest.raises(BringUpError) as caught:
            bring_up.form_the_cluster(run)
        return str(caught.value).splitlines()

    def snapshot(self) -> set[str]:
        """Everything that could be seen of it, a line each, but for addresses its kernel gives itself."""
        lines = self.say(SNAPSHOT).splitlines()
        return {line for line in lines if STORE not in line and "fe80::" not in line}

    def say(self, script: str) -> str:
        """What a script prints on it."""
        run = self.run
        (said,) = nodes.run(run.config, run.state, run.provider, script, timeout=120).values()
        assert said.ok, said.stderr
        return said.stdout

    def give_back(self) -> None:
        """Undo what the playbooks did, as the provider ssh does."""
        run = self.run
        self.say(f"systemctl stop containerd && umount {STORE}")
        ansible.run_playbook(
            "reset",
            config=run.config,
            state=run.state,
            provider=run.provider,
            extravars=run.told(),
            progress=run.progress,
            folder=run.state.new_run("reset"),
            timeout=240,
        )

    @staticmethod
    def config(name: str, values: Mapping[str, Any]) -> Any:
        return from_values({**values, "name": name, "nodes": [NODE]})


@contextmanager
def one_machine(lab: Lab, values: Mapping[str, Any]) -> Iterator[OneMachine]:
    """Start it, a container that counts as a machine that was there before; `lab down` takes it away."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KUBE_SERVICE_LAB_STATE", str(lab.state))
        patch.setattr(PodmanProvider, "machines_stay", True)
        config, state = OneMachine.config(lab.name, values), LabState(lab.name)
        provider, source = providers.get(config, state), sources.get(config.source)
        run = BringUp(config, state, provider, source, Progress(quiet=True))
        bring_up.build_what_is_missing(run)
        bring_up.open_the_lab(run)
        bring_up.start_the_machines(run)
        try:
            yield OneMachine(run)
        finally:
            # ssh's sockets of this process are in its own TMPDIR, where the command `lab down` does not look.
            state.close_connections()
            shutil.rmtree(state.sockets_dir)
