"""Traffic from each of a Service's clients: every node, a pod, and a machine outside the cluster.

The prober is one process a place that opens a fresh connection for every request and accounts for each of
them: its counts can be trusted, and no process is started for a request, nor for a run of them.
"""

from __future__ import annotations

import shlex
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.any_cluster import PROBER

from .cluster import Cluster
from .expectation import Unmet
from .nodes import Node
from .prober import PROBERS
from .shell import SHELLS

DROPPED, UNTOLD, TOLD = 1.0, 3.5, 8.0
"""Seconds that a request may take: where nobody shall answer, and any failure will do; where it shall not be
refused either; and where it is to be answered, or refused. A kernel refuses one peer once a second after the
first six (icmp_ratelimit): it may be the second SYN that is refused, after a second, or the third, after
three. And a pod without a CPU request may not run for more than four seconds on a busy node: its weight is a
30th of the control plane's."""


@dataclass(frozen=True)
class Outcome:
    """What became of one run's requests."""

    client: str
    target: str
    count: int
    answers: Mapping[str, int]
    """Pod name to the number of requests it answered."""
    failures: Mapping[str, int]
    """`refused`, `timeout`, `reset` or `other: …` to a number of requests."""
    seconds: float
    resent: int = 0
    """UDP datagrams that were sent once more."""

    @classmethod
    def from_json(cls, client: str, values: Mapping[str, Any]) -> Outcome:
        """Read the prober's report, and see that no request is missing from it."""
        outcome = cls(
            client=client,
            target=values["target"],
            count=values["count"],
            answers=dict(values.get("answers") or {}),
            failures=dict(values.get("failures") or {}),
            seconds=values["seconds"],
            resent=values.get("resent", 0),
        )
        told = sum(outcome.answers.values()) + sum(outcome.failures.values())
        assert told == outcome.count, f"the prober accounts for {told} of {outcome.count} requests: {values}"
        return outcome

    @property
    def answered(self) -> int:
        """Requests that were answered."""
        return sum(self.answers.values())

    def __str__(self) -> str:
        """One line for a failure message."""
        again = f", {self.resent} datagrams sent again" if self.resent else ""
        return (
            f"{self.client} → {self.target}: {self.answered} of {self.count} answered {dict(self.answers)}, "
            f"failures {dict(self.failures)}, {self.seconds:.1f} s{again}"
        )

    @property
    def asked(self) -> tuple[str, ...]:
        """The words after `lab` that ask the same again; empty where it was a pod that is gone by then."""
        if self.client == "pod":
            return ()
        if self.client == "outside":
            return ("exec", "outside", "--", "curl", "-sS", "-m", "5", self.target)
        udp = () if "://" in self.target else ("--udp",)
        return ("exec", self.client, "--", "prober", "--count", str(self.count), *udp, self.target)

    def assert_all_answered(self, by: set[str] | None = None) -> None:
        """Every request was answered, and by no other pod than these."""
        wrong = self.answered != self.count or (by is not None and not set(self.answers) <= by)
        if wrong:
            who = "" if by is None else f" by {', '.join(sorted(by)) or 'nobody'} alone"
            what = f"all {self.count} requests of {self.client} to {self.target} answered{who}"
            raise Unmet(expected=what, seen=str(self), asked=self.asked)

    def assert_none_answered(self, *, kind: str | None = None) -> None:
        """No request was answered; all of them failed in the one way named, if one is."""
        if self.answers or (kind is not None and set(self.failures) != {kind}):
            what = f"no request of {self.client} to {self.target} answered"
            how = "" if kind is None else f", every one {kind}"
            raise Unmet(expected=what + how, seen=str(self), asked=self.asked)


class Client(ABC):
    """A place that connects to Services."""

    name: str

    @abstractmethod
    def run(self, script: str, *, timeout: float) -> str:
        """What a shell script printed there."""

    def probe(
        self, *targets: str, count: int = 3, udp: bool = False, timeout: float = TOLD, pause: float = 0
    ) -> list[Outcome]:
        """Send `count` requests to each target in turn, each on a fresh connection, one after another.

        >>> node01.probe("http://10.96.0.20", count=30)[0].answers
        {'mytest-5c7-abcde': 11, 'mytest-5c7-fghij': 10, 'mytest-5c7-klmno': 9}

        Args:
            targets: URLs (`http://10.96.0.20:80`), or `address:port` with `udp`.
            count: requests to each target.
            udp: datagrams, each from a fresh port.
            timeout: seconds a request may take.
            pause: seconds between two requests.
        """
        each = {"count": count, "udp": udp, "timeout": timeout, "pause": pause}
        plans = [{"target": target, **each} for target in targets]
        longest = len(targets) * count * (timeout + pause) + 15
        reports = PROBERS.run(self.argv(self.prober, "--serve"), plans, timeout=min(longest, 240))
        return [Outcome.from_json(self.name, report) for report in reports]

    @abstractmethod
    def argv(self, *words: str) -> list[str]:
        """The command line, here, that runs a program there, with this side's input and output."""

    @property
    def prober(self) -> str:
        """The prober's path there."""
        return PROBER


class FromNode(Client):
    """A node of the cluster itself."""

    def __init__(self, node: Node) -> None:
        self.name = node.name
        self.node = node

    def run(self, script: str, *, timeout: float) -> str:
        """Over the node's ssh connection."""
        return self.node.run(script, timeout=timeout)

    def argv(self, *words: str) -> list[str]:
        """As `Node.argv`."""
        return self.node.argv(*words)


class FromPod(Client):
    """A pod, through the API's exec."""

    def __init__(self, cluster: Cluster, namespace: str, pod: str, container: str | None = None) -> None:
        self.name = "pod"
        self.cluster, self.namespace, self.pod, self.container = cluster, namespace, pod, container

    def run(self, script: str, *, timeout: float) -> str:
        """In the named container, or the pod's only one; its output and then its errors."""
        result = SHELLS.run(self.argv("sh"), f"sh -c {shlex.quote(script)}", timeout=timeout)
        return result.out + result.err

    def argv(self, *words: str) -> list[str]:
        """By kubectl exec."""
        return self.cluster.exec_argv(self.namespace, self.pod, words, container=self.container)


class FromOutside(Client):
    """The operator: a machine on the lab's network, no part of the cluster; this process runs on it."""

    def __init__(self, prober: Path) -> None:
        self.name = "outside"
        self.path = prober

    def run(self, script: str, *, timeout: float) -> str:
        """As a child of this process."""
        done = subprocess.run(
            ["sh", "-c", script], capture_output=True, text=True, timeout=timeout, check=False
        )
        assert done.returncode == 0, f"exit status {done.returncode}: {script}\n{done.stdout}{done.stderr}"
        return done.stdout

    def argv(self, *words: str) -> list[str]:
        """As it is."""
        return [*words]

    @property
    def prober(self) -> str:
        """The copy of the nodes' own prober."""
        return str(self.path)
