"""ipvs chooses by the scheduler that kube-proxy is set to: each by what its own source says.

`rr` and `wrr` take turns; `sh` and `mh` choose by the client's address, `dh` by the Service's; `lc` and `wlc`
take the least connections, `sed` and `nq` the least active ones (net/netfilter/ipvs/ip_vs_*.c in Linux).
kube-proxy gives every real server the weight 1.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import pytest

from .kubeproxy import KubeProxy
from .nodes import Node, on_each
from .probing import FromNode
from .stage import Published, Stage
from .waiting import PROGRAMMED, wait_until
from .workload import POD_START

pytestmark = [pytest.mark.behaviour("ipvs-scheduler"), pytest.mark.timeout(300)]

SERVICES = 12
"""In front of the same pods: that many addresses to connect to, and from (ipvs binds them to each node)."""
PODS = 3
TURNS = 12
FIRST_PORT = 61000
"""Of clients whose port counts: above those that Linux gives out by itself."""
DUMMY = "-f 4040"
"""A virtual server by a firewall mark, which no packet has, to see whether the kernel knows a scheduler."""

Load = tuple[int, int]
"""A real server's active and inactive connections."""


@dataclass(frozen=True)
class Choice:
    """One connection: each real server's load before it, and the one that it was given to."""

    before: Mapping[str, Load]
    chosen: str


@dataclass(frozen=True)
class Scheduled:
    """The pods behind several Services, a node to connect from, and kube-proxy to set."""

    services: Sequence[Published]
    pods: frozenset[str]
    node: Node
    kube_proxy: KubeProxy

    def set(self, scheduler: str) -> None:
        """Set it, or skip where a kernel lacks it; done when all virtual servers of every node have it."""
        nodes = self.kube_proxy.nodes
        known = f"ipvsadm -A {DUMMY} -s {scheduler} && ipvsadm -D {DUMMY} && echo yes"
        lacking = [
            name
            for name, said in on_each(nodes, lambda node: node.run(known, check=False)).items()
            if not said
        ]
        if lacking:
            pytest.skip(f"the kernels of {', '.join(lacking)} lack the ipvs scheduler {scheduler}")
        self.kube_proxy.schedule_by(scheduler)
        self.await_scheduler(scheduler)

    def await_scheduler(self, scheduler: str) -> None:
        """Until all virtual servers of every node have it."""

        def all_have_it() -> bool:
            said = on_each(self.kube_proxy.nodes, lambda node: node.run("ipvsadm -Sn"))
            used = {name: set(re.findall(r"^-A .* -s (\S+)", text, re.M)) for name, text in said.items()}
            assert all(found == {scheduler} for found in used.values()), used
            return True

        wait_until(
            f"all virtual servers of every node to be scheduled by {scheduler}",
            all_have_it,
            timeout=PROGRAMMED["ipvs"],
        )


@pytest.fixture(scope="module")
def scheduled(stage: Stage, nodes: tuple[Node, ...]) -> Iterator[Scheduled]:
    """Three pods behind twelve Services; afterwards kube-proxy is set as it was."""
    labels = {"run": "scheduled"}
    pods = [stage.pod(labels) for _ in range(PODS)]
    services = [stage.service(labels) for _ in range(SERVICES)]
    stage.wait(*pods)
    for service in services:
        wait_until(
            f"{PODS} endpoints of {service.name}",
            lambda service=service: len(service.endpoints()) == PODS,  # type: ignore[misc]
            timeout=POD_START,
        )
    stage.rulebook.settle()
    kube_proxy = KubeProxy(stage.cluster, nodes)
    found = Scheduled(services, frozenset(pods), nodes[-1], kube_proxy)
    before = kube_proxy.configuration()
    yield found
    if kube_proxy.configuration() != before:
        kube_proxy.configure(before)
        stage.rulebook.settle()


@pytest.mark.parametrize("scheduler", ["rr", "wrr"])
def test_takes_turns(scheduled: Scheduled, scheduler: str) -> None:
    """Always in the same order, which is the whole of it where all weights are equal."""
    scheduled.set(scheduler)
    url = scheduled.services[0].url
    outcomes = FromNode(scheduled.node).probe(*[url] * TURNS, count=1)
    turns = [name for outcome in outcomes for name in outcome.answers]
    assert len(turns) == TURNS, f"{TURNS - len(turns)} of {TURNS} requests were not answered"
    assert set(turns[:PODS]) == scheduled.pods, turns
    assert turns == turns[:PODS] * (TURNS // PODS), turns


@pytest.mark.parametrize("scheduler", ["sh", "mh"])
def test_chooses_by_the_client(scheduled: Scheduled, scheduler: str) -> None:
    """A client stays with its pod; the clients together do not all go to one.

    For `sh` a client is an address. For `mh` kube-proxy sets the flag by which the port counts too
    (pkg/proxy/ipvs, FlagSourceHash); a second connection from one port is given out anew (`conn_reuse_mode`,
    ipvs-sysctl.rst of the kernel), so it is no memory of the first that keeps it with its pod.
    """
    scheduled.set(scheduler)
    service, *others = scheduled.services
    sources = [scheduled.node.address, *(other.cluster_ip for other in others)]
    if scheduler == "mh":
        sources = [f"{scheduled.node.address}:{FIRST_PORT + number}" for number in range(SERVICES)]
    # Not a multiple of the pods: who takes turns would begin each round where it began before.
    del sources[-1]
    chosen = asked(scheduled.node, [(source, service.cluster_ip) for source in sources * 3])
    assert all(len(set(pods)) == 1 for pods in chosen.values()), chosen
    assert {pod for pods in chosen.values() for pod in pods} <= scheduled.pods, chosen
    # By chance alone, all of eleven clients would share a pod once in 59,000 runs.
    assert len({pods[0] for pods in chosen.values()}) > 1, f"all clients go to one pod: {chosen}"


def test_chooses_by_the_address_of_the_service(scheduled: Scheduled) -> None:
    """Whoever asks a ClusterIP reaches one pod; the ClusterIPs together do not all go to one."""
    scheduled.set("dh")
    addresses = [service.cluster_ip for service in scheduled.services]
    pairs = [(source, target) for target in addresses for source in addresses[:3] if source != target]
    chosen = asked(scheduled.node, pairs)
    by_target = {target: {chosen[pair][0] for pair in pairs if pair[1] == target} for target in addresses}
    assert all(len(pods) == 1 for pods in by_target.values()), by_target
    assert len({pod for pods in by_target.values() for pod in pods}) > 1, by_target


ASK = """
import socket, sys
for line in sys.stdin:
    address, port, target = line.split()
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        connection.settimeout(8)
        connection.bind((address, int(port)))
        connection.connect((target, 80))
        connection.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n")
        # To the end: who closes first may not use the port again for a minute.
        with connection.makefile() as answer:
            print(answer.read().splitlines()[-1])
"""
"""Asks from the address and port (0: any) that each line names; for Python's standard library alone."""


def asked(node: Node, pairs: Sequence[tuple[str, str]]) -> dict[tuple[str, str], list[str]]:
    """Who answered, by the `address` or `address:port` asked from and the address asked, in turn."""
    lines = []
    for source, target in pairs:
        address, _, port = source.partition(":")
        lines.append(f"{address} {port or 0} {target}")
    script = f"python3 -c {shlex.quote(ASK)} <<'PAIRS'\n" + "\n".join(lines) + "\nPAIRS"
    said = node.run(script, timeout=150).splitlines()
    assert len(said) == len(pairs), said
    found: dict[tuple[str, str], list[str]] = {}
    for pair, line in zip(pairs, said, strict=True):
        name = re.search(r"Running on: (\S+)", line)
        assert name, f"{pair} was not answered: {line!r}"
        found.setdefault(pair, []).append(name[1])
    return found


LOADS: Mapping[str, Callable[[Load], int]] = {
    "lc": lambda load: load[0] * 256 + load[1],
    "wlc": lambda load: load[0] * 256 + load[1],
    "sed": lambda load: load[0] + 1,
    "nq": lambda load: load[0] + 1,
}
"""What each of them takes the least of; `nq` takes an idle server before, which is the least here too."""

HOLD = """
declare -A owner
look() { ipvsadm -Ln -t IP:80 | awk '$3 == "Masq" {print $2, $5, $6}' | sort; }
hold() {
  before=$(look)
  exec {fd}<>/dev/tcp/IP/80 || exit 1
  after=$(look)
  chosen=$(join <(echo "$before") <(echo "$after") | awk '$4 > $2 {print $1}')
  owner[$fd]=$chosen
  echo "$before" | tr '\\n' ','
  echo " $chosen"
}
for n in 1 2 3 4 5 6; do hold; done
first=$chosen
for fd in "${!owner[@]}"; do [ "${owner[$fd]}" != "$first" ] || exec {fd}>&-; done
for n in 1 2 3 4 5 6 7 8 9 10; do look | grep -q "^$first 0 " && break; sleep 0.2; done
for n in 1 2 3 4; do hold; done
"""
"""Six connections that are held, those of one real server closed, four more; the loads before each."""


@pytest.mark.parametrize("scheduler", sorted(LOADS))
def test_chooses_the_least_loaded(scheduled: Scheduled, scheduler: str) -> None:
    """A real server that has lost the connections it held is chosen until all have as many again."""
    scheduled.set(scheduler)
    script = HOLD.replace("IP", scheduled.services[0].cluster_ip)
    said = scheduled.node.run(f"exec bash <<'HOLD'\n{script}\nHOLD\n", timeout=60)
    choices = [choice(line) for line in said.splitlines()]
    assert len(choices) == 10, said
    load = LOADS[scheduler]
    for number, one in enumerate(choices, 1):
        least = min(map(load, one.before.values()))
        fitting = {server for server, loads in one.before.items() if load(loads) == least}
        assert one.chosen in fitting, f"{scheduler}, connection {number}: {one}, of {fitting}"
    emptied = choices[5].chosen
    assert choices[6].before[emptied][0] == 0, f"{emptied} has not lost its connections: {choices[6]}"
    assert [one.chosen for one in choices[6:8]] == [emptied] * 2, choices[6:]


def choice(line: str) -> Choice:
    """One line of HOLD: `SERVER ACTIVE INACTIVE,… CHOSEN`."""
    loads, _, chosen = line.rpartition(", ")
    found = {}
    for part in loads.split(","):
        server, active, inactive = part.split()
        found[server] = (int(active), int(inactive))
    assert len(found) == PODS, line
    assert chosen in found, f"no real server gained the connection: {line}"
    return Choice(found, chosen)
