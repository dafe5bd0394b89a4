"""kube-proxy itself: what it says of itself, and what it sets in the kernel."""

from __future__ import annotations

import json
import re

import pytest

from .nodes import Node, on_each
from .probing import FromNode, FromOutside
from .stage import Published, Stage

HEALTH, STATUS = 10256, 10249
"""Ports: of /healthz and /livez on every address, and of /proxyMode and /metrics on 127.0.0.1 alone."""
CLOSE_WAIT = 3600
"""Seconds: conntrack.tcpCloseWaitTimeout of KubeProxyConfiguration, where nobody sets it."""
COUNTER = "localhost_nps_accepted_pkts"
ACCEPTED = "kubeproxy_iptables_localhost_nodeports_accepted_packets_total"
REQUESTS = 10


@pytest.fixture(scope="module")
def service(stage: Stage, nodes: tuple[Node, ...]) -> Published:
    """A NodePort Service of one pod that every node has programmed."""
    labels = {"run": "kube-proxy"}
    pod = stage.pod(labels, node=nodes[-1].name)
    found = stage.service(labels, type="NodePort")
    stage.settle(found, {pod})
    return found


@pytest.mark.behaviour("kube-proxy-urls")
def test_says_that_it_is_healthy_and_its_mode(node: Node, outside: FromOutside, mode: str) -> None:
    """/healthz and /livez to everybody, as load balancers ask; /proxyMode and /metrics to the node alone."""
    health, here = (f"http://{host}:{HEALTH}" for host in (node.address, "127.0.0.1"))
    curl = "curl -sS -m 5 -w '\\n%{http_code}'"
    said = node.run_all(
        {
            "healthz": f"{curl} {here}/healthz",
            "livez": f"{curl} {here}/livez",
            "proxyMode": f"{curl} http://127.0.0.1:{STATUS}/proxyMode",
            "metrics": f"curl -sS -m 5 http://127.0.0.1:{STATUS}/metrics | grep -c ^kubeproxy_sync_",
        }
    )
    for name in ("healthz", "livez"):
        answer, _, code = said[name].rpartition("\n")
        assert code == "200", f"{node.name}: /{name}: {said[name]}"
        told = json.loads(answer)
        assert told["healthy"], f"{node.name}: /{name}: {told}"
        assert "lastUpdated" in told, f"{node.name}: /{name}: {told}"
    assert said["proxyMode"].split() == [mode, "200"], node.name
    assert int(said["metrics"]) > 0, f"{node.name}: /metrics tells nothing of syncs: {said['metrics']}"
    for outcome in outside.probe(f"{health}/healthz", f"{health}/livez", count=1):
        assert outcome.answered == 1, str(outcome)
    (outcome,) = outside.probe(f"http://{node.address}:{STATUS}/proxyMode", count=1)
    outcome.assert_none_answered(kind="refused")


@pytest.mark.behaviour("tcp-close-wait-timeout")
def test_half_closed_connections_are_tracked_for_an_hour(service: Published, node: Node) -> None:
    """mytest closes after its answer, the client does not: CLOSE_WAIT on the client's node."""
    ip = service.cluster_ip
    said = node.run_all(
        {
            "setting": "sysctl -n net.netfilter.nf_conntrack_tcp_timeout_close_wait",
            "entry": f"""bash -c '
                exec 2>&1 3<>/dev/tcp/{ip}/80
                printf "GET / HTTP/1.0\\r\\n\\r\\n" >&3
                cat <&3
                sleep 0.5
                conntrack -L -p tcp -d {ip}'""",
        },
        timeout=60,
    )
    assert int(said["setting"]) == CLOSE_WAIT, node.name
    entries = re.findall(
        rf"^tcp +6 (\d+) CLOSE_WAIT .*\bdst={re.escape(ip)} .*\bdport=80 ", said["entry"], re.M
    )
    assert entries, f"{node.name}: no connection to {ip} in CLOSE_WAIT: {said['entry']}"
    left = max(map(int, entries))
    assert CLOSE_WAIT - 60 < left <= CLOSE_WAIT, (
        f"{node.name}: {left} s left of {CLOSE_WAIT}: {said['entry']}"
    )


def accepted(node: Node) -> float:
    """The metric on a node; fails where there is none."""
    said = node.run(f"curl -sS -m 5 http://127.0.0.1:{STATUS}/metrics | grep '^{ACCEPTED} '", check=False)
    assert said, f"{node.name}: kube-proxy has no metric {ACCEPTED}"
    return float(said.split()[1])


@pytest.fixture
def counting(stage: Stage, nodes: tuple[Node, ...], service: Published) -> None:
    """Skips where kube-proxy itself says that a node's kernel cannot count by name (nfnetlink_acct)."""
    rules = on_each(nodes, lambda node: node.run("iptables-save -t nat"))
    assert service.node_port
    lacking = [name for name, text in rules.items() if not re.search(rf"--nfacct-name +{COUNTER} ", text)]
    if lacking:
        pods = stage.cluster.pods_on("kube-system", {"k8s-app": "kube-proxy"})
        logs = {
            name: "".join(stage.cluster.api.log(pod, namespace="kube-system"))
            for pod, name in pods.items()
            if name in lacking
        }
        unsupported = [name for name, text in logs.items() if "nfacct" in text]
        assert sorted(unsupported) == sorted(lacking), f"no rule counts by {COUNTER} on {lacking}: {logs}"
        pytest.skip(f"kube-proxy says that nfacct is not available on {', '.join(lacking)}")


@pytest.mark.behaviour("nfacct-localhost-nodeports")
@pytest.mark.usefixtures("counting")
def test_counts_what_it_accepts_for_node_ports_on_loopback(service: Published, node: Node) -> None:
    """Each connection's first packet; others may ask there meanwhile, so at least as many as were made."""
    before = accepted(node)
    (outcome,) = FromNode(node).probe(f"http://127.0.0.1:{service.node_port}", count=REQUESTS)
    outcome.assert_all_answered()
    assert accepted(node) - before >= REQUESTS, node.name
