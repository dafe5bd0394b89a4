"""What a client finds out about names: records, by dig along the search path of its own resolv.conf."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from .cluster import Cluster
from .probing import Client
from .waiting import wait_until

DOMAIN = "cluster.local"
"""The cluster's domain."""
KNOWN = 30.0
"""Seconds in which CoreDNS has heard of a change; it watches the API, and caches no name of the cluster."""
MARK = "--8<-- asked"
LONGEST = 60.0
"""Seconds for the questions of one exec: dig asks a server that does not answer three times, for 5 s each."""


def full(name: str, namespace: str) -> str:
    """The absolute name of what is called `name` in a namespace: no search path is tried with it."""
    return f"{name}.{namespace}.svc.{DOMAIN}."


def in_turn(client: Client, commands: Sequence[str]) -> dict[str, str]:
    """Several commands in one round trip: command to what it printed, its errors with it."""
    script = "\n".join(f"echo '{MARK}'; {command} 2>&1" for command in commands)
    _, *outputs = client.run(script + "\ntrue", timeout=LONGEST).split(f"{MARK}\n")
    return dict(zip(commands, outputs, strict=True))


@dataclass(frozen=True)
class Answer:
    """What a name server said to one question."""

    status: str
    """`NOERROR`, `NXDOMAIN`…, or `no answer`."""
    records: tuple[tuple[str, str], ...]
    """Type and data of each record: `("A", "10.244.1.2")`."""

    @classmethod
    def read(cls, text: str) -> Answer:
        """Read what `dig +noall +comments +answer` printed."""
        status = re.search(r"^;; ->>HEADER<<- .* status: (\w+)", text, re.MULTILINE)
        records = re.findall(r"^[^;\s]\S*\s+\d+\s+IN\s+(\S+)\s+(.+)$", text, re.MULTILINE)
        return cls(status[1] if status else "no answer", tuple(records))

    def of(self, kind: str) -> set[str]:
        """The data of its records of one type."""
        return {data for found, data in self.records if found == kind}

    @property
    def services(self) -> set[tuple[int, str]]:
        """Port and target of its SRV records; priority and weight are CoreDNS's own business."""
        return {(int(port), target) for _, _, port, target in map(str.split, self.of("SRV"))}


def ask(client: Client, *questions: str, options: str = "") -> dict[str, Answer]:
    """Ask the client's name server in one round trip: question to answer.

    >>> ask(pod, "kubernetes.default A")["kubernetes.default A"].of("A")
    {'10.96.0.1'}

    Args:
        client: who asks.
        questions: name and type; a name that does not end in a dot is looked for along the search path.
        options: more of dig's, `+tcp`.
    """
    commands = {one: f"dig +search +noall +comments +answer {options} {one}" for one in questions}
    said = in_turn(client, list(commands.values()))
    return {one: Answer.read(said[command]) for one, command in commands.items()}


def wait_known(client: Client, cluster: Cluster, name: str, address: str) -> None:
    """Wait until each of the DNS servers leads from a name to a ClusterIP: one may hear of it later."""
    servers = cluster.pods("kube-system", {"k8s-app": "kube-dns"}).values()
    questions = [f"@{ip} {name} A" for ip in servers] or [f"{name} A"]

    def known() -> bool:
        said = {question: answer.of("A") for question, answer in ask(client, *questions).items()}
        assert all(found == {address} for found in said.values()), said
        return True

    wait_until(f"each DNS server to lead from {name} to {address}", known, timeout=KNOWN)
