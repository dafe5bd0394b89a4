"""`report.json`: what a run came to. `report.schema.json` beside this file is its JSON schema."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

FILE = "report.json"
VERSION: Literal[1] = 1
"""Of the format: it grows when a reader of the one before would no longer understand it."""

Outcome = Literal["passed", "failed", "skipped", "unfinished"]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Suite(_Part):
    """The suites that ran."""

    version: str = Field(description="the release of kube-service-lab")
    digest: str = Field(description="of the suites' files: tells changed suites apart")
    python: str


class Node(_Part):
    """One machine of the cluster."""

    name: str
    address: str
    control_plane: bool
    versions: dict[str, str] = Field(description="kernel, os, kubelet, containerd, nft, iptables, ipvsadm, …")


class Cluster(_Part):
    """The cluster that was tested."""

    name: str
    provider: str
    kubeconfig: str = Field(default="", description="its file, where no lab made the cluster; else empty")
    kubernetes: str
    network: str = Field(description="the pod network (CNI): flannel or routed")
    nodes: tuple[Node, ...]


class Session(_Part):
    """One run of the suites in one proxy mode."""

    mode: str
    begun: str = Field(description="UTC, ISO 8601")
    seconds: float = Field(ge=0)
    complete: bool = Field(description="whether it came to its end by itself")
    tests: int = Field(ge=0, description="how many were to run")
    passed: int = Field(ge=0)
    failed: int = Field(ge=0)
    skipped: int = Field(ge=0)
    unfinished: int = Field(ge=0, description="begun, without an end")
    not_run: int = Field(ge=0, description="never begun")
    seed: int | None = Field(description="of the order of the tests, where pytest-randomly draws it")
    connections: int | None = Field(description="of each distribution test")


class Failure(_Part):
    """Why a test failed."""

    phase: str = Field(description="setup, call or teardown")
    expected: str
    seen: str
    where: str = Field(description="file:line")
    see: str = Field(description="a command that asks the same; empty where there is none")
    again: str = Field(description="the command that runs this test again")
    message: str
    traceback: str
    rules: dict[str, str] = Field(description="title to text: the rules that the nodes had programmed")


class Result(_Part):
    """One test, of one behaviour or several, at one node (or client) in one mode."""

    name: str = Field(description="the test's suite and name, without the place: `clusterip/answers`")
    behaviours: tuple[str, ...] = Field(description="ids of what it proves; its name where it has none")
    title: str
    test: str = Field(description="pytest's id")
    node: str = Field(description="a node, `pod`, `outside`, or `all`")
    mode: str
    outcome: Outcome
    attempts: int = Field(ge=1, description="how often it was run")
    seconds: float = Field(ge=0)
    phases: dict[str, float] = Field(description="seconds of setup, call and teardown")
    message: str = Field(description="why it was skipped or failed, in a line")
    failures: tuple[Failure, ...]


class Reach(_Part):
    """One cell of the truth table: what a client sees of a target, or measures of it."""

    client: str
    target: str
    mode: str
    expected: str
    seen: str = Field(description="empty where nothing was seen")
    outcome: Outcome
    declared: str = Field(
        "", description="the behaviour by which what is expected is declared; empty where it answers"
    )
    source: str = Field("", description="why it is expected in this mode")


class Count(_Part):
    """One backend's connections; an even spread is within `low` and `high`."""

    seen: int = Field(ge=0)
    expected: float = Field(ge=0)
    low: float
    high: float


class Distribution(_Part):
    """The connections of one client over one path."""

    client: str
    path: str
    target: str
    mode: str
    even: bool
    method: str = Field(description="chi-square or turns")
    counts: dict[str, Count]
    failures: int = Field(ge=0, description="connections without an answer")
    statistic: float
    critical: float
    p_value: float | None
    alpha: float | None


class Report(_Part):
    """Everything about one run."""

    version: Literal[1] = VERSION
    begun: str
    seconds: float
    complete: bool = Field(description="false where the run, or a part of it, was cut off")
    arguments: tuple[str, ...] = Field(description="pytest's own, as the user gave them")
    suite: Suite
    cluster: Cluster
    sessions: tuple[Session, ...]
    results: tuple[Result, ...]
    truth: tuple[Reach, ...] = Field(description="the truth table: client, target and mode")
    distributions: tuple[Distribution, ...]

    @property
    def modes(self) -> list[str]:
        """The modes in the order of their sessions."""
        return list(dict.fromkeys(session.mode for session in self.sessions))

    @property
    def failed(self) -> list[Result]:
        """What did not pass, the tests that were cut off as well."""
        return [result for result in self.results if result.outcome in ("failed", "unfinished")]
