"""The cluster under test: a lab of this user's, or any by its kubeconfig; all that the suites know of it."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from lab import sources
from lab.config import Config
from lab.providers.base import Provider
from lab.proxy.settings import Settings
from lab.reach import spaces
from lab.reach.given import Given
from lab.reach.survey import SurveyedNode
from lab.state import LabState

from .cluster import Endpoint
from .nodes import Node

PROXY_MODE = "curl -sS -m 5 http://127.0.0.1:10249/proxyMode"
"""Asks a node's kube-proxy by which mode it serves; to run on the node."""
DAY = 86400.0
API_PORT = 6443


@dataclass(frozen=True)
class Lab:
    """The lab under test, as it was brought up."""

    config: Config
    state: LabState
    provider: Provider


@dataclass(frozen=True)
class Machine:
    """A node of the cluster under test: its InternalIP, and the part of kube-proxy's settings that shows."""

    name: str
    address: str
    control_plane: bool
    settings: Settings
    zone: str | None = None


@dataclass(frozen=True, kw_only=True)
class Subject(ABC):
    """A cluster under test; what is None is not known of it."""

    machines: tuple[Machine, ...]
    """The control plane first."""
    version: str
    """Of Kubernetes: `1.37.2`."""
    pod_cidr: str | None
    service_cidr: str | None
    cluster_dns: str | None
    kubectl: Path
    kubeconfig: Path
    run: str
    """What marks this run's namespaces."""
    until: str
    """When they may be removed by anybody."""
    images: Mapping[str, str] = field(default_factory=dict)
    """The image to use by the name of the lab's own, where one was named."""
    not_outside: str = ""
    """Why this process is on no machine that reaches the nodes; empty where it is."""

    def known(self, name: str) -> Any:
        """One of the values above; a test that needs one that is not known is skipped."""
        value = getattr(self, name)
        if value is None:
            pytest.skip(f"the cluster does not say what its {name.replace('_', ' ')} is")
        return value

    def machine(self, name: str) -> Machine:
        """The node of that name."""
        return next(machine for machine in self.machines if machine.name == name)

    @property
    def api_servers(self) -> set[Endpoint] | None:
        """Where the API servers listen, None where that is not known."""
        return None

    @abstractmethod
    def connect(self, machine: Machine) -> Node:
        """The way to a node."""

    @abstractmethod
    def reading(self, path: str) -> list[str]:
        """The command line that prints a file that is on every node."""


@dataclass(frozen=True, kw_only=True)
class OwnLab(Subject):
    """A lab: its nodes by ssh, this process on its network."""

    lab: Lab

    @classmethod
    def of(cls, lab: Lab) -> OwnLab:
        """What the lab's configuration says."""
        config, kubernetes = lab.config, lab.config.kubernetes
        told = Settings(pods=str(kubernetes.pod_cidr), scheduler=config.proxy.ipvs_scheduler)
        return cls(
            machines=tuple(
                Machine(node.name, str(node.address), node.name == config.master.name, told)
                for node in config.nodes
            ),
            version=kubernetes.version,
            pod_cidr=str(kubernetes.pod_cidr),
            service_cidr=str(kubernetes.service_cidr),
            cluster_dns=str(kubernetes.cluster_dns),
            kubectl=sources.get(config.source).program(config, "kubectl"),
            kubeconfig=lab.state.kubeconfig_inside,
            run=spaces.new_run(),
            until=spaces.until(DAY),
            lab=lab,
        )

    @property
    def api_servers(self) -> set[Endpoint] | None:
        """The master's."""
        return {(str(self.lab.config.master.address), API_PORT)}

    def connect(self, machine: Machine) -> Node:
        """By ssh."""
        sudo = bool(self.lab.provider.become(machine.name))
        return Node.over_ssh(machine.name, machine.address, self.lab.state.ssh_config, sudo=sudo)

    def reading(self, path: str) -> list[str]:
        """By ssh, from the master."""
        return ["ssh", "-F", str(self.lab.state.ssh_config), self.lab.config.master.name, "cat", path]


@dataclass(frozen=True, kw_only=True)
class Stranger(Subject):
    """A cluster that no lab made: a privileged pod in the network of each node stands for it."""

    given: Given

    @classmethod
    def of(cls, given: Given) -> Stranger:
        """What a survey found.

        testinfra runs kubectl by that name: it and its kubeconfig are put in this process's environment.
        """
        os.environ["KUBECONFIG"] = str(given.kubeconfig)
        os.environ["PATH"] = f"{given.kubectl.parent}:{os.environ.get('PATH', '')}"
        found = given.survey
        return cls(
            machines=tuple(_machine(node) for node in found.nodes),
            version=found.kubernetes,
            pod_cidr=found.pod_cidr,
            service_cidr=found.service_cidr,
            cluster_dns=found.cluster_dns,
            kubectl=given.kubectl,
            kubeconfig=given.kubeconfig,
            run=given.run,
            until=given.until,
            images=given.images,
            not_outside=given.not_outside,
            given=given,
        )

    def connect(self, machine: Machine) -> Node:
        """By kubectl exec."""
        return Node.in_pod(
            machine.name,
            machine.address,
            pod=self.given.pods[machine.name],
            namespace=self.given.run,
            container=self.given.container,
            prepare=self.given.prepare,
        )

    def reading(self, path: str) -> list[str]:
        """From any of the pods."""
        given = self.given
        pod = next(iter(given.pods.values()))
        where = (f"--kubeconfig={given.kubeconfig}", "exec", f"--namespace={given.run}", pod)
        return [str(given.kubectl), *where, f"--container={given.container}", "--", "cat", path]


def _machine(node: SurveyedNode) -> Machine:
    return Machine(node.name, node.address, node.control_plane, node.settings, node.zone)
