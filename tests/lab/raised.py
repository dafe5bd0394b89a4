"""What the tests of every provider ask of a lab that is up."""

from __future__ import annotations

import time
import urllib.error
import urllib.request
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from harness import Lab, Result
from lightkube import Client, KubeConfig
from lightkube.models.core_v1 import ServicePort, ServiceSpec
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.apps_v1 import Deployment
from lightkube.resources.core_v1 import Node, Service

from lab.evidence import TROUBLE
from lab.report.model import Report

NODES = ("master", "node01", "node02")


@dataclass(frozen=True)
class Raised:
    """A lab that is up, and how it came up."""

    lab: Lab
    up: Result
    config: Path

    def again(self, *, timeout: float = 120) -> Result:
        return self.lab.named("up", "--config", str(self.config), timeout=timeout)

    def client(self) -> Client:
        """The user's own way to the API: the kubeconfig, on this host, through 127.0.0.1."""
        path = Path(self.lab.named("kubeconfig", "--path").assert_success().stdout.strip())
        assert path.stat().st_mode & 0o777 == 0o600
        config = KubeConfig.from_file(path)
        context = config.get()
        assert context is not None
        assert context.cluster.server.startswith("https://127.0.0.1:")
        return Client(config=config, trust_env=False)


def raise_lab(lab: Lab, config: str, *, timeout: float = 400) -> Raised:
    file = lab.root / "lab.yaml"
    file.write_text(config)
    up = lab.named("up", "--config", str(file), timeout=timeout).assert_success()
    return Raised(lab, up, file)


def assert_changes_nothing_again(raised: Raised, nodes: tuple[str, ...] = NODES) -> None:
    before = boots(raised.lab, nodes)
    again = raised.again().assert_success()
    assert "Nothing had to be changed." in again.stderr, str(again)
    # Not because nothing was looked at: the playbook ran, on every node.
    (said,) = sorted(raised.lab.folder.glob("runs/*-up*/site/artifacts/run/stdout"))[-1:]
    recap = said.read_text().partition("PLAY RECAP")[2]
    assert [line for line in recap.splitlines() if "ok=" in line and "changed=0" not in line] == []
    assert all(node in recap for node in nodes), recap
    assert boots(raised.lab, nodes) == before


def boots(lab: Lab, nodes: tuple[str, ...] = NODES) -> dict[str, str]:
    """What tells one boot of each machine from the next: its kernel's, and when its first process began."""
    script = "cat /proc/sys/kernel/random/boot_id; cut -d' ' -f22 /proc/1/stat"
    said = {node: lab.named("exec", node, "--", "sh", "-c", script).assert_success().stdout for node in nodes}
    assert all(len(text.split()) == 2 for text in said.values()), said
    return said


def assert_status_tells_the_nodes(raised: Raised) -> None:
    status = raised.lab.named("status", "-o", "json").assert_success().json()
    assert {node["name"]: node["machine"] for node in status["nodes"]} == dict.fromkeys(NODES, "running")
    assert {node["kubernetes"] for node in status["nodes"]} == {"Ready"}
    assert {node["proxy_mode"] for node in status["nodes"]} == {"iptables"}


def assert_the_users_kubectl_works(raised: Raised) -> None:
    client = raised.client()
    assert {node.metadata.name for node in client.list(Node) if node.metadata} == set(NODES)
    mytest = client.get(Deployment, "mytest", namespace="default").status
    assert mytest is not None
    assert mytest.readyReplicas == 3


def assert_node_port_is_forwarded(raised: Raised) -> None:
    client = raised.client()
    service = Service(
        metadata=ObjectMeta(name="from-the-host", namespace="default"),
        spec=ServiceSpec(
            type="NodePort",
            selector={"run": "mytest"},
            ports=[ServicePort(port=80, targetPort=8080, nodePort=30000)],
        ),
    )
    client.create(service)
    try:
        status = raised.lab.named("status", "-o", "json").assert_success().json()
        port = status["ports"]["30000"]
        assert answer(f"http://127.0.0.1:{port}/").startswith("Hello Kubernetes bootcamp!")
    finally:
        client.delete(Service, "from-the-host", namespace="default")


def answer(url: str, *, timeout: float = 20) -> str:
    """The first answer; kube-proxy needs a moment to program a new Service."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    end = time.monotonic() + timeout
    while True:
        try:
            with opener.open(url, timeout=5) as response:
                return str(response.read().decode())
        except (urllib.error.URLError, OSError):
            if time.monotonic() > end:
                raise
            time.sleep(0.5)


def assert_suites_pass(raised: Raised, *args: str, modes: Collection[str], timeout: float) -> None:
    """`lab test ARGS` passes, and its reports say what ran where.

    Args:
        raised: the lab.
        args: which suites, and how.
        modes: those that must be among the ones that they ran in.
        timeout: seconds for all of it.
    """
    result = raised.lab.named("test", *args, timeout=timeout)
    print(result.stdout)
    run = max(raised.lab.folder.glob("runs/*-test"))
    for log in sorted(run.glob("evidence-*/*/*.log")):
        print(f"--- {log.parent.parent.name} {log.parent.name} {log.name}")
        print("\n".join(line for line in log.read_text().splitlines() if TROUBLE.search(line))[-4000:])
    assert result.exit == 0, "\n\n".join(failures(run)) or str(result)
    seen = Counter[tuple[str, str]]()
    for report in run.glob("junit-*.xml"):
        for case in ET.parse(report).iter("testcase"):
            properties = {p.get("name", ""): p.get("value", "") for p in case.iter("property")}
            if case.find("skipped") is None:
                seen[properties["mode"], properties["node"]] += 1
    assert {mode for mode, _ in seen} >= set(modes), seen
    for mode in modes:
        for node in NODES:
            assert seen[mode, node] > 0, f"no test ran on {node} in {mode}: {seen}"
    assert_report_tells(raised, modes)


def failures(run: Path) -> list[str]:
    """What failed in a run of the suites: mode and test, then the end of what pytest says of it."""
    return [
        f"{report.stem}: {case.get('name')}: {fault.get('message')}\n{(fault.text or '')[-3000:]}"
        for report in sorted(run.glob("junit-*.xml"))
        for case in ET.parse(report).iter("testcase")
        for fault in [*case.iter("failure"), *case.iter("error")]
    ]


def assert_report_tells(raised: Raised, modes: Collection[str]) -> None:
    """The run's `report.json` and `report.html`: complete, with every node's versions and the truth table."""
    page = Path(raised.lab.named("report").assert_success().stdout.strip())
    assert page.read_text().startswith("<!doctype html>")
    report = Report.model_validate_json(page.with_name("report.json").read_text())
    assert report.complete
    assert {node.name for node in report.cluster.nodes if node.versions.get("kernel")} == set(NODES)
    assert {result.outcome for result in report.results} <= {"passed", "skipped"}
    for mode in modes:
        assert {cell.client for cell in report.truth if cell.mode == mode} == {*NODES, "pod", "outside"}
        assert {sample.client for sample in report.distributions if sample.mode == mode} >= {*NODES, "pod"}
