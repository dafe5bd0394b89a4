"""`lab migrate-check`: order, exit codes, where the lab is however it ends. The suites are captured ones."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import captured_run
import pytest
import yaml
from fakes import FakePlaybooks, FakeProvider

from lab import ansible, paths, suites, switch
from lab.config import load
from lab.errors import BringUpError
from lab.migrate import check, model
from lab.report import results
from lab.state import LabState

Verb = Callable[..., Any]

LEFT = ("6 virtual servers", "interface kube-ipvs0", "ipset KUBE-CLUSTER-IP", "ipset KUBE-LOOP-BACK")
CLEAN = "".join(f"@@ lab dump {name}\n" for name in ("iptables-save", "nft", "ipvsadm", "ipset"))
CLEAN += "@@ lab dump ip-addr\n[]\n"
WEB = {
    "metadata": {"name": "web", "namespace": "default"},
    "spec": {"clusterIP": "10.96.0.9", "ports": [{"port": 80, "nodePort": 30000}]},
}


class Api:
    """The cluster has one Service of the user's."""

    def __init__(self, *_: object) -> None:
        pass

    def items(self, path: str) -> list[dict[str, Any]]:
        return [WEB] if path.endswith("services") else [{"metadata": {"name": "default"}}]


class Suites:
    """Runs of the suites: those that were captured, changed as `change` says."""

    def __init__(self) -> None:
        self.modes: list[str] = []
        self.args: list[list[str]] = []
        self.change: Callable[[captured_run.Event], None] = lambda _event: None
        self.ends: BaseException | None = None

    def run(self, *_: object, mode: str, args: list[str], folder: Path, **__: object) -> suites.Verdict:
        self.modes.append(mode)
        self.args.append(list(args))
        if self.ends and mode == "nftables":
            raise self.ends
        for event in captured_run.of_mode(mode):
            self.change(event)
            results.append(folder / results.FILE, event.pop("event"), **event)
        return suites.Verdict(mode, 71, 0, 0, 60.0, folder / f"junit-{mode}.xml")


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> Suites:
    fake = Suites()
    monkeypatch.setattr(suites, "run", fake.run)
    monkeypatch.setattr(suites, "check", lambda *_: None)
    monkeypatch.setattr(check, "OwnLab", Api)
    return fake


@pytest.fixture
def there(
    state: LabState,
    machines: type[FakeProvider],
    playbooks: FakePlaybooks,
    monkeypatch: pytest.MonkeyPatch,
) -> LabState:
    """A lab in iptables mode, whose kube-proxies leave things of it behind."""
    del machines
    state.make()
    state.write_config(load(None).with_mode("iptables"))
    playbooks.mode, playbooks.logs = "iptables", CLEAN

    def leaving(*args: Any, config: Any, **values: Any) -> ansible.Run:
        found = playbooks.run(*args, config=config, **values)
        things: Mapping[str, tuple[str, ...]] = {node.name: LEFT for node in config.nodes}
        return replace(found, printed={switch.SETTLE: things} if config.proxy.mode == "nftables" else {})

    monkeypatch.setattr(ansible, "run_playbook", leaving)
    return state


def mode_of(state: LabState) -> str:
    config = state.read_config()
    assert config is not None
    return config.proxy.mode


def runs(state: LabState) -> list[Path]:
    return sorted(state.runs_dir.glob("*-migrate-check*"))


def test_it_tells_what_differs_and_the_lab_is_as_it_was(there: LabState, ran: Suites, lab: Verb) -> None:
    said = lab("migrate-check", "iptables", "nftables", "-m", "matrix or facts").assert_exit(0)

    assert ran.modes == ["iptables", "nftables"]
    assert ran.args == [["-m", "matrix or facts"]] * 2
    assert mode_of(there) == "iptables"
    assert "NodePort on another address of the node: answers → refused" in said.out
    assert "   concerns    default/web (nodePort 30000)" in said.out.splitlines()
    assert "master, node01, node02: 6 virtual servers, interface kube-ipvs0, 2 ipsets" in said.out
    assert "The lab 'lab' is in iptables mode again, as it was before." in said.out
    (folder,) = runs(there)
    kept = model.Migration.model_validate_json((folder / model.FILE).read_text())
    assert kept.ok
    assert (folder / "report.html").is_file()
    assert lab("report").assert_exit(0).out == f"{folder / 'report.html'}\n"


def test_with_stay_it_does_not_go_back(there: LabState, ran: Suites, lab: Verb) -> None:
    said = lab("migrate-check", "iptables", "nftables", "--stay").assert_exit(0)

    assert ran.modes == ["iptables", "nftables"]
    assert mode_of(there) == "nftables"
    assert "The lab 'lab' is in nftables mode." in said.out


def test_from_another_mode_than_the_one_that_is_on(
    there: LabState, ran: Suites, lab: Verb, playbooks: FakePlaybooks
) -> None:
    there.write_config(load(None).with_mode("ipvs"))
    said = lab("migrate-check", "iptables", "nftables").assert_exit(0)

    assert ran.modes == ["iptables", "nftables"]
    assert len(playbooks.ran) == 3
    assert "The lab 'lab' is in ipvs mode again" in said.out


def test_as_json_there_is_nothing_else_on_stdout(there: LabState, ran: Suites, lab: Verb) -> None:
    said = lab("migrate-check", "iptables", "nftables", "-o", "json").assert_exit(0)

    del ran
    found = model.Migration.model_validate(json.loads(said.out))
    assert found.residue.removed == dict.fromkeys(("master", "node01", "node02"), LEFT)
    assert found.services == ("default/web",)
    assert (found.before, found.after, found.mode) == ("iptables", "nftables", "iptables")
    assert there.exists()


@pytest.mark.usefixtures("there")
def test_an_undeclared_difference_is_a_failure(ran: Suites, lab: Verb) -> None:
    ran.change = captured_run.cell("nftables", "ClusterIP, no endpoints", "pod", seen="no answer")
    said = lab("migrate-check", "iptables", "nftables").assert_exit(1)

    assert "1 of them undeclared" in said.out
    assert "   UNDECLARED  both modes should show: refused" in said.out


@pytest.mark.usefixtures("there")
def test_a_test_that_failed_is_a_failure_though_nothing_differs(ran: Suites, lab: Verb) -> None:
    def change(event: captured_run.Event) -> None:
        if event.get("phase") == "teardown" and event.get("target") == "pod IP":
            event |= {"outcome": "failed", "message": "it is gone"}

    ran.change = change
    said = lab("migrate-check", "iptables", "nftables").assert_exit(1)

    assert "Tests that did not pass" in said.out
    assert "(iptables: failed, nftables: failed): it is gone" in said.out


@pytest.mark.usefixtures("there")
def test_what_is_left_after_the_switch_is_a_failure(ran: Suites, lab: Verb, playbooks: FakePlaybooks) -> None:
    del ran
    playbooks.logs = CLEAN.replace("ipset\n", "ipset\ncreate KUBE-CLUSTER-IP hash:ip,port\n")
    said = lab("migrate-check", "iptables", "nftables").assert_exit(1)

    assert "   node01: ipvs: ipset KUBE-CLUSTER-IP exists" in said.out


def test_cut_off_in_the_suites_it_says_in_which_mode_the_lab_is(
    there: LabState, ran: Suites, lab: Verb
) -> None:
    ran.ends = KeyboardInterrupt()
    said = lab("migrate-check", "iptables", "nftables").assert_exit(130)

    assert mode_of(there) == "nftables"
    assert (
        "The lab 'lab' is in nftables mode. Back to iptables: lab proxy-mode --name lab iptables" in said.err
    )
    assert said.out == ""


def test_cut_off_in_the_switch_it_says_what_mends_it(
    there: LabState, ran: Suites, lab: Verb, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut_off(*_: object, **__: object) -> ansible.Run:
        raise KeyboardInterrupt

    monkeypatch.setattr(ansible, "run_playbook", cut_off)
    said = lab("migrate-check", "iptables", "nftables").assert_exit(130)

    assert ran.modes == ["iptables"]
    assert "The switch to nftables was cut off" in said.err
    assert "lab proxy-mode --name lab iptables" in said.err
    assert mode_of(there) == "iptables"


@pytest.mark.usefixtures("there", "ran")
def test_a_switch_that_fails_says_it_too(lab: Verb, playbooks: FakePlaybooks) -> None:
    playbooks.error = BringUpError("The playbook proxy_mode failed on node01.")
    said = lab("migrate-check", "iptables", "nftables").assert_exit(3)

    assert "lab proxy-mode --name lab iptables" in said.err
    assert "error: The playbook proxy_mode failed on node01." in said.err


@pytest.mark.parametrize(
    ("args", "code", "error"),
    [
        (("ipvs", "ipvs"), 2, "error: From ipvs to ipvs nothing changes."),
        (("ipvs", "nftable"), 2, "error: 'nftable' is no proxy mode; did you mean nftables?"),
        (("ebpf", "ipvs"), 2, "error: 'ebpf' is no proxy mode"),
        (("iptables", "nftables"), 5, "error: The nodes of 'lab' cannot serve nftables mode."),
        (("ipvs",), 2, ""),
    ],
)
def test_modes_that_cannot_be(
    there: LabState,
    ran: Suites,
    lab: Verb,
    machines: type[FakeProvider],
    args: tuple[str, ...],
    code: int,
    error: str,
) -> None:
    machines.modes = ("iptables", "ipvs")
    said = lab("migrate-check", *args).assert_exit(code)

    assert error in said.err
    assert said.err.count("error: ") == (1 if error else 0)
    assert (said.out, ran.modes, runs(there)) == ("", [], [])


def test_arguments_that_pytest_does_not_understand(there: LabState, lab: Verb) -> None:
    said = lab("migrate-check", "iptables", "nftables", "-k", "no_such_test_at_all").assert_exit(2)

    assert "No test would be run" in said.err
    assert runs(there) == []


@pytest.mark.usefixtures("machines")
def test_no_lab(ran: Suites, lab: Verb) -> None:
    said = lab("migrate-check", "iptables", "nftables").assert_exit(2)

    assert said.err.splitlines()[0] == "error: There is no lab 'lab'."
    assert ran.modes == []


def test_proxy_mode_says_what_the_switch_removed(there: LabState, lab: Verb) -> None:
    said = lab("proxy-mode", "nftables").assert_exit(0)

    wanted = "kube-proxy left of other modes, and this removed: master, node01, node02: 6 virtual servers"
    assert wanted in said.err
    assert mode_of(there) == "nftables"


def test_the_task_that_tells_what_was_removed_is_in_the_role() -> None:
    tasks = yaml.safe_load((paths.share("playbooks") / "roles/kube_proxy/tasks/settle.yml").read_text())
    (task,) = [task for task in tasks if task["name"] == switch.SETTLE]
    assert task["ansible.builtin.command"]["argv"][0] == "kube-proxy-settle"
