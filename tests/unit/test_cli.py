"""The `lab` command: exit codes and whole messages, on machines that are fakes."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fakes import FakePlaybooks, FakeProvider, FakeSource

from lab import cluster, paths, providers, suites
from lab.cluster import NodeStatus
from lab.errors import BringUpError
from lab.state import LabState, read_json

Run = Callable[..., Any]


@pytest.fixture
def up(
    lab: Run,
    machines: type[FakeProvider],
    source: FakeSource,
    playbooks: FakePlaybooks,
    monkeypatch: pytest.MonkeyPatch,
) -> Run:
    """`lab up` on fakes."""
    del machines, source, playbooks

    class Api:
        def __init__(self, _state: LabState) -> None:
            pass

        def nodes(self) -> dict[str, NodeStatus]:
            names = ("master", "node01", "node02")
            return {name: NodeStatus(ready=True, version="v1.37.2", internal_ip="") for name in names}

        def cluster_ip(self, _service: str) -> str:
            return "10.100.1.2"

    monkeypatch.setattr(cluster, "Cluster", Api)
    return lambda *args: lab("up", *args)


def test_version_and_help(lab: Run) -> None:
    assert lab("--version").assert_exit(0).out.startswith("lab ")
    said = lab("--help").assert_exit(0).out
    for verb in (
        "doctor",
        "up",
        "down",
        "status",
        "list",
        "shell",
        "exec",
        "kubectl",
        "kubeconfig",
        "proxy-mode",
    ):
        assert f"\n  {verb} " in said


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("frob",), "No such command 'frob'."),
        (("up", "--frob"), "No such option: --frob"),
        (("up", "--timeout", "x"), "Invalid value for '--timeout'"),
        (("exec",), "Missing argument"),
    ],
)
def test_a_command_line_that_is_not_understood(lab: Run, args: tuple[str, ...], said: str) -> None:
    assert said in lab(*args).assert_exit(2).err


@pytest.mark.parametrize(
    "args", [("status",), ("shell",), ("kubeconfig",), ("proxy-mode",), ("evidence",), ("test",)]
)
def test_verbs_for_a_lab_that_is_not_there(lab: Run, args: tuple[str, ...]) -> None:
    LabState("other").dir.mkdir(parents=True)

    assert lab(*args).assert_exit(2).err.splitlines() == [
        "error: There is no lab 'lab'.",
        "  - labs: other",
        "To mend it: lab up --name lab",
    ]


def test_up_raises_a_lab_and_says_where_to_go_next(up: Run, playbooks: FakePlaybooks) -> None:
    said = up("--proxy-mode", "ipvs").assert_exit(0)

    state = LabState("lab")
    assert said.out.splitlines() == [
        "NAME     ROLE            ADDRESS         STATUS   VERSION   PROXY MODE",
        "master   control plane   192.168.1.200   Ready    v1.37.2   ipvs",
        "node01   node            192.168.1.201   Ready    v1.37.2   ipvs",
        "node02   node            192.168.1.202   Ready    v1.37.2   ipvs",
        "",
        f"kubeconfig: {state.kubeconfig}   (context kube-service-lab-lab)",
        "API server: https://127.0.0.1:16443",
        "NodePort 30000: http://127.0.0.1:30000 once a Service has it",
        "",
        "Try:",
        "  lab kubectl -- get nodes,pods,services -A -o wide",
        "  lab exec node01 -- curl -s http://10.100.1.2",
        "  lab test",
    ]
    assert "The lab 'lab' is up in ipvs mode" in said.err
    assert "Changed: machines were started, 6 tasks changed something." in said.err
    assert playbooks.ran == ["site"]
    assert playbooks.asked[0]["fetch_dir"] == str(state.dir / "fetched")
    assert state.kubeconfig.stat().st_mode & 0o777 == 0o600
    assert "https://127.0.0.1:16443" in state.kubeconfig.read_text()
    assert "https://192.168.1.200:6443" in state.kubeconfig_inside.read_text()


def test_up_leads_to_a_proxy_once_the_machines_run(
    up: Run,
    machines: type[FakeProvider],
    source: FakeSource,
    playbooks: FakePlaybooks,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(source, "extravars", lambda _config: {"http_proxy": "http://127.0.0.1:8888"})

    def way_out(lab: FakeProvider, url: str) -> str:
        assert lab.state.name in machines.running, "there is no machine yet that could be led anywhere"
        return url.replace("127.0.0.1:8888", "192.168.1.1:3128")

    monkeypatch.setattr(machines, "way_out", way_out)

    up().assert_exit(0)

    assert playbooks.asked[0]["http_proxy"] == "http://192.168.1.1:3128"
    # What `lab down` may need of it when there is no machine left.
    assert (read_json(LabState("lab").told_file) or {})["http_proxy"] == "http://127.0.0.1:8888"


def test_up_again_changes_nothing_and_says_so(up: Run) -> None:
    up("--proxy-mode", "nftables").assert_exit(0)

    said = up().assert_exit(0)  # what is not said stays as it is
    assert "is up in nftables mode" in said.err
    assert "Nothing had to be changed." in said.err


def test_up_with_another_configuration_is_refused(up: Run, playbooks: FakePlaybooks) -> None:
    up().assert_exit(0)
    Path("lab.yaml").write_text("proxy: {mode: ipvs}\n")
    mode = up().assert_exit(2)
    Path("lab.yaml").write_text("machine: {memory: 4096}\nproxy: {mode: ipvs}\n")
    both = up().assert_exit(2)

    assert mode.err.splitlines() == [
        "error: There is a lab 'lab' already, with another configuration.",
        "  - proxy.mode: is iptables, asked for is ipvs",
        "To mend it: lab proxy-mode --name lab ipvs",
    ]
    assert both.err.splitlines() == [
        "error: There is a lab 'lab' already, with another configuration.",
        "  - proxy.mode: is iptables, asked for is ipvs",
        "  - machine.memory: is 2048, asked for is 4096",
        "To mend it: lab down --name lab, or another --name",
    ]
    assert playbooks.ran == ["site"]


def test_up_reports_everything_missing_at_once_and_touches_nothing(
    up: Run, machines: type[FakeProvider], source: FakeSource, tmp_path: Path
) -> None:
    machines.modes = ("iptables",)
    machines.wrong = ["no user namespaces here"]
    source.packages = ["xz-utils"]
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        port = sock.getsockname()[1]
        file = tmp_path / "big.yaml"
        file.write_text(f"machine: {{memory: 99999999}}\nproxy: {{mode: ipvs}}\nforward: {{api: {port}}}\n")
        said = up("--config", str(file)).assert_exit(5).err

    lines = said[said.index("error:") :].splitlines()
    assert lines[0] == "error: 5 things missing or in the way; nothing was touched."
    assert lines[1] == "  - xz-utils: missing (package xz-utils): the source bundle builds with it"
    assert lines[2].startswith("  - memory: ")
    assert "299999997 MiB wanted" in lines[2]
    assert lines[3].startswith(f"  - port {port} of 127.0.0.1 (forward.api): in use")
    assert lines[4].startswith(
        "  - proxy mode ipvs: the kernel of uml's nodes cannot serve it, only iptables"
    )
    assert lines[5] == "  - provider uml: no user namespaces here"
    assert lines[6].endswith("apt-get install -y --no-install-recommends xz-utils")
    assert not machines.running
    assert source.built == 0
    assert list(paths.state().iterdir()) == []


def test_a_mode_that_is_not_in_effect_fails_and_says_why(up: Run, playbooks: FakePlaybooks) -> None:
    playbooks.stuck_in = "iptables"
    said = up("--proxy-mode", "ipvs").assert_exit(3).err

    lines = said[said.index("error:") :].splitlines()
    assert lines[0] == (
        "error: kube-proxy was asked for ipvs mode, and on master, node01, node02 it is not in effect."
    )
    assert "  - master: iptables" in lines
    assert "  - kube-proxy on node01: E1122 10:00:00.000 cannot do it" in lines
    assert lines[-1].startswith("To mend it: `lab up --name lab` starts over with fresh machines")


def test_a_failed_task_shows_the_nodes_logs_and_keeps_the_evidence(up: Run, playbooks: FakePlaybooks) -> None:
    playbooks.error = BringUpError("The playbook site failed on node01.", details=["Join — node01"])
    said = up().assert_exit(3).err

    assert "error: The playbook site failed on node01." in said
    assert "  - while: Forming the cluster" in said
    assert "  - node01: kubelet: E1122 10:00:00.000 cannot do it" in said
    assert "node02: kubelet" not in said
    (run,) = LabState("lab").runs_dir.iterdir()
    assert (run / "nodes" / "node02.log").read_text() == playbooks.logs
    assert (run / "nodes" / "master-console.log").is_file()


def test_an_unfinished_lab_starts_over_and_a_finished_one_never_does(
    up: Run, playbooks: FakePlaybooks, machines: type[FakeProvider]
) -> None:
    playbooks.error = BringUpError("The playbook site failed on node01.")
    up().assert_exit(3)
    half_made = LabState("lab").nodes_dir / "node01" / "disk.cow"
    half_made.parent.mkdir()
    half_made.touch()
    (kept,) = LabState("lab").runs_dir.iterdir()

    playbooks.error = None
    machines.ended.clear()
    up().assert_exit(0)
    assert machines.ended == ["uml"]
    assert not half_made.parent.exists()
    assert kept.is_dir()

    machines.ended.clear()
    half_made.parent.mkdir()
    playbooks.error = BringUpError("The playbook site failed on node01.")
    assert "`lab up --name lab` tries again" in up().assert_exit(3).err
    assert machines.ended == []
    assert half_made.parent.exists()


def test_an_interrupted_up_says_what_it_leaves(up: Run, machines: type[FakeProvider]) -> None:
    machines.interrupted = True
    said = up().assert_exit(130).err

    assert (
        "interrupted while: Starting the machines. Left: master running, node01 absent, node02 absent" in said
    )
    assert (
        "`lab up --name lab` starts over with fresh machines, `lab down --name lab` takes all of it away"
        in said
    )
    assert said.splitlines()[-1] == "error: interrupted"


def test_down_leaves_nothing_and_may_be_said_again(up: Run, lab: Run, machines: type[FakeProvider]) -> None:
    up().assert_exit(0)

    assert "The lab 'lab' is gone." in lab("down").assert_exit(0).err
    assert machines.running == {}
    assert list(paths.state().iterdir()) == []
    assert lab("down").assert_exit(0).err == "There is no lab 'lab'; nothing to take down.\n"


def test_down_removes_the_lock_of_a_command_that_was_killed_before_it_made_anything(lab: Run) -> None:
    state = LabState("lab")
    state.lock_file.parent.mkdir(parents=True)
    state.lock_file.write_text("lab up (process 1)")
    lab("down").assert_exit(0)
    assert not state.lock_file.exists()


def test_down_without_the_labs_notes_asks_every_provider(lab: Run, machines: type[FakeProvider]) -> None:
    state = LabState("lab")
    state.make()
    state.config_file.write_text("{")

    assert "Every provider is asked for machines of that name." in lab("down").assert_exit(0).err
    assert machines.ended == list(providers.PROVIDERS)
    assert not state.exists()


def test_down_keeps_the_folder_of_what_does_not_end(up: Run, lab: Run, machines: type[FakeProvider]) -> None:
    up().assert_exit(0)
    machines.cannot_end = True

    lab("down").assert_exit(3)
    assert LabState("lab").exists()


def test_down_of_all(up: Run, lab: Run) -> None:
    up("--name", "one").assert_exit(0)
    up("--name", "two").assert_exit(0)

    lab("down", "--all").assert_exit(0)
    assert LabState.all() == []


def test_list_and_status(up: Run, lab: Run) -> None:
    assert lab("list").assert_exit(0).out == "NAME   PROVIDER   PROXY MODE   RUNNING   NODES\n"
    up().assert_exit(0)
    LabState("half").make()

    assert lab("list").assert_exit(0).out.splitlines() == [
        "NAME   PROVIDER   PROXY MODE   RUNNING   NODES",
        "half   ?          ?            ?         ?",
        "lab    uml        iptables     3         3",
    ]
    found = json.loads(lab("status", "-o", "json").assert_exit(0).out)
    assert found["nodes"][0] == {
        "name": "master",
        "address": "192.168.1.200",
        "machine": "running",
        "kubernetes": "Ready",
        "version": "v1.37.2",
        "proxy_mode": "iptables",
    }
    assert found["ports"] == {"api": 16443, "30000": 30000}
    assert lab("status").assert_exit(0).out.splitlines()[:4] == [
        "lab lab: provider uml, iptables mode",
        "",
        "NAME     ADDRESS         MACHINE   KUBERNETES   VERSION   PROXY MODE",
        "master   192.168.1.200   running   Ready        v1.37.2   iptables",
    ]


def test_the_proxy_mode_is_shown_and_switched(up: Run, lab: Run, playbooks: FakePlaybooks) -> None:
    up().assert_exit(0)

    assert json.loads(lab("proxy-mode", "-o", "json").assert_exit(0).out)["node02"] == "iptables"
    assert "is in nftables mode (switched from iptables;" in lab("proxy-mode", "nftables").assert_exit(0).err
    assert playbooks.ran == ["site", "proxy_mode"]
    config = LabState("lab").read_config()
    assert config is not None
    assert config.proxy.mode == "nftables"
    assert "(nothing had to be changed;" in lab("proxy-mode", "nftables").assert_exit(0).err


def test_a_switch_waits_as_long_as_the_lab_is_set_to(
    up: Run, lab: Run, playbooks: FakePlaybooks, tmp_path: Path
) -> None:
    (tmp_path / "slow.yaml").write_text("kubernetes: {settle_timeout: 1800}\n")
    up("--config", str(tmp_path / "slow.yaml")).assert_exit(0)

    lab("proxy-mode", "ipvs").assert_exit(0)
    lab("proxy-mode", "nftables", "--timeout", "60").assert_exit(0)
    assert playbooks.timeouts[1:] == [1920, 60]


def test_a_switch_that_fails_changes_no_note(up: Run, lab: Run, playbooks: FakePlaybooks) -> None:
    up().assert_exit(0)
    playbooks.stuck_in = "iptables"

    lab("proxy-mode", "ipvs").assert_exit(3)
    config = LabState("lab").read_config()
    assert config is not None
    assert config.proxy.mode == "iptables"


def test_modes_that_cannot_be(up: Run, lab: Run, machines: type[FakeProvider]) -> None:
    up().assert_exit(0)
    assert lab("proxy-mode", "ipv").assert_exit(2).err.splitlines() == [
        "error: 'ipv' is no proxy mode; did you mean ipvs? (there are: iptables, ipvs, nftables)."
    ]
    machines.modes = ("iptables",)
    said = lab("proxy-mode", "ipvs").assert_exit(5).err
    assert said.splitlines()[0] == "error: The nodes of 'lab' cannot serve ipvs mode."


def test_a_busy_lab(up: Run, lab: Run) -> None:
    up().assert_exit(0)
    with LabState("lab").lock(verb="lab up"):
        assert "error: The lab 'lab' is busy." in lab("down").assert_exit(3).err


def test_kubeconfig(up: Run, lab: Run) -> None:
    up().assert_exit(0)

    assert lab("kubeconfig", "--path").assert_exit(0).out == f"{LabState('lab').kubeconfig}\n"
    assert "server: https://192.168.1.200:6443" in lab("kubeconfig", "--inside").assert_exit(0).out


def test_shell_and_exec_know_the_nodes(up: Run, lab: Run) -> None:
    up().assert_exit(0)

    assert lab("shell", "node7").assert_exit(2).err.splitlines() == [
        "error: The lab 'lab' has no node 'node7'.",
        "To mend it: one of: master, node01, node02",
    ]
    assert "There is no command to run." in lab("exec", "node01").assert_exit(2).err


def test_evidence_is_one_archive(up: Run, lab: Run, playbooks: FakePlaybooks) -> None:
    up().assert_exit(0)
    playbooks.logs = "@@@ kubelet.log\nall is well\n@@@ rules.txt\n-A KUBE\n"

    archive = Path(lab("evidence").assert_exit(0).out.strip())
    assert archive.name.endswith("-evidence.tar.gz")
    folder = archive.with_name(archive.name.removesuffix(".tar.gz"))
    assert (folder / "node01" / "rules.txt").read_text() == "-A KUBE\n"
    assert (folder / "master-console.log").is_file()


def test_a_failed_suite_has_its_evidence_beside_its_results(
    up: Run, lab: Run, playbooks: FakePlaybooks, monkeypatch: pytest.MonkeyPatch
) -> None:
    up().assert_exit(0)
    playbooks.logs = "@@@ kubelet.log\nthe pod did not start\n"
    failed = {"iptables": 1, "ipvs": 0, "nftables": 0}

    def run(*_: object, mode: str, folder: Path, **__: object) -> suites.Verdict:
        return suites.Verdict(mode, 10, failed[mode], 0, 1.0, folder / f"junit-{mode}.xml")

    monkeypatch.setattr(suites, "run", run)
    said = lab("test", "--all-modes").assert_exit(1)
    (results,) = LabState("lab").runs_dir.glob("*-test")
    into = results / "evidence-iptables"
    assert f"evidence: {into}" in said.err
    assert (into / "node02" / "kubelet.log").read_text() == "the pod did not start\n"
    assert not list(results.glob("evidence-ipvs*"))


def test_doctor_asks_no_provider_about_the_machines_of_another(
    up: Run, lab: Run, machines: type[FakeProvider], monkeypatch: pytest.MonkeyPatch
) -> None:
    up().assert_exit(0)
    status = machines.status

    def of_its_own(provider: FakeProvider) -> dict[str, str]:
        assert provider.config.provider == "uml"
        return status(provider)

    monkeypatch.setattr(machines, "status", of_its_own)
    lab("doctor").assert_exit(0)
    lab("doctor", "--provider", "podman").assert_exit(0)


def test_doctor_looks_at_the_host_although_the_labs_record_is_broken(
    up: Run, lab: Run, machines: type[FakeProvider]
) -> None:
    up().assert_exit(0)
    (LabState("lab").dir / "config.json").write_text("{")
    machines.wrong = ["no"]
    assert "MISSING    provider uml" in lab("doctor").assert_exit(5).out


def test_doctor(lab: Run, machines: type[FakeProvider], source: FakeSource) -> None:
    assert lab("doctor").assert_exit(0).out.splitlines()[0].split() == ["WHAT", "FOUND"]
    machines.wrong = ["no"]
    source.packages = ["e2fsprogs", "xz-utils"]
    said = lab("doctor").assert_exit(5).out
    assert "MISSING    provider uml" in said
    assert "apt-get install -y --no-install-recommends e2fsprogs xz-utils" in said
    checks = json.loads(lab("doctor", "-o", "json").assert_exit(5).out)
    assert {check["name"] for check in checks if not check["ok"] and check["needed"]} == {
        "e2fsprogs",
        "xz-utils",
        "provider uml",
    }


def test_config_verbs(lab: Run) -> None:
    assert lab("config", "validate").assert_exit(2).err.splitlines() == [
        "error: There is no lab.yaml here.",
        "To mend it: lab config init, or name a file",
    ]
    assert lab("config", "init").assert_exit(0).out == "lab.yaml\n"
    assert lab("config", "validate").assert_exit(0).out == "lab.yaml: a lab 'lab' of 3 nodes, no faults\n"
    lab("config", "init").assert_exit(2)
    assert lab("config", "init", "--force").assert_exit(0).out == "lab.yaml\n"
    Path("lab.yaml").write_text("proxi: 1\n")
    assert "proxi: unknown key; did you mean proxy?" in lab("config", "validate").assert_exit(2).err
    schema = json.loads(lab("config", "schema").assert_exit(0).out)
    assert schema["properties"]["proxy"]
