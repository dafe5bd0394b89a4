"""Provider ssh: a cluster on machines that no lab made, by an ordinary user with sudo, and then given back.

The machines are user-mode nodes, of a plain Debian 12 and a plain Debian 13. `lab` runs on their LAN, as on
their owner's own host.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness import LAB, Lab, Result
from raised import Raised, assert_changes_nothing_again
from strangers import MISSING, USER, Stranger, Strangers, strangers

# Not three: more or less of them is a matter of the inventory alone. And not of one system.
MACHINES = {"one": Stranger("12", memory=2048), "two": Stranger("13", memory=1400)}
NOBODY = "  - {name: three, address: 192.168.77.99}\n"
LISTEN = """import socket, time; s = socket.create_server(("", 10250)); time.sleep(600)"""
FAULTS = f"""
mkdir /etc/kubernetes
mv /etc/sudoers.d/{USER} /root/
echo one > /proc/sys/kernel/hostname
nohup python3 -c '{LISTEN}' < /dev/null > /dev/null 2>&1 &
"""
MEND = f"""
rmdir /etc/kubernetes
mv /root/{USER} /etc/sudoers.d/
echo two > /proc/sys/kernel/hostname
pkill -f create_server
"""


@pytest.fixture(scope="module")
def machines() -> Iterator[Strangers]:
    folder = Path(tempfile.mkdtemp(prefix="kss-"))
    try:
        with strangers(folder, MACHINES) as there:
            yield there
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def lab(machines: Strangers) -> Iterator[Lab]:
    root = Path(tempfile.mkdtemp(prefix="ksl-"))
    lab = Lab("theirs", root, command=(*machines.place, str(LAB)))
    (root / "lab.yaml").write_text(machines.config())
    yield lab
    lab.named("down", "--forget", timeout=180)
    left = lab.left()
    shutil.rmtree(root, ignore_errors=True)
    assert not left, left


@pytest.fixture(scope="module")
def before(machines: Strangers) -> dict[str, list[str]]:
    return machines.snapshot()


@pytest.fixture(scope="module")
def refused(machines: Strangers, lab: Lab, before: dict[str, list[str]]) -> Result:
    """`lab up` on machines of which one has many faults, and a third that is not there."""
    del before
    file = lab.root / "faulty.yaml"
    file.write_text(machines.config() + NOBODY)
    machines.run("two", FAULTS)
    try:
        return lab.named("up", "--config", str(file), timeout=120)
    finally:
        machines.run("two", MEND)


@pytest.fixture(scope="module")
def raised(lab: Lab, refused: Result) -> Raised:
    del refused
    file = lab.root / "lab.yaml"
    up = lab.named("up", "--config", str(file), timeout=420)
    return Raised(lab, up.assert_success(), file)


@pytest.fixture(scope="module")
def suite(raised: Raised) -> Result:
    """The ClusterIP suite, after a live switch."""
    raised.lab.named("proxy-mode", "nftables", timeout=200).assert_success()
    return raised.lab.named("test", "test_clusterip.py", timeout=200)


@pytest.fixture(scope="module")
def half_down(machines: Strangers, raised: Raised, suite: Result) -> Result:
    """`lab down` while one machine does not answer."""
    del suite
    machines.stop("two")
    try:
        return raised.lab.named("down", timeout=200)
    finally:
        machines.go_on("two")


@pytest.fixture(scope="module")
def after(machines: Strangers, raised: Raised, half_down: Result) -> dict[str, list[str]]:
    del half_down
    assert raised.lab.folder.is_dir(), "what is left to be given back is forgotten"
    raised.lab.named("down", timeout=200).assert_success()
    return machines.snapshot()


@pytest.mark.timeout(600)
def test_every_fault_of_every_machine_is_told_before_anything_is_touched(refused: Result) -> None:
    refused.assert_exit(5)
    said = refused.stderr
    for fault in (
        f"two: {USER} does not become root without a password",
        "two: port 10250 is in use, which kubelet needs",
        "two: there is a Kubernetes already (/etc/kubernetes)",
        "three: ssh does not get there",
        "one, two: have the host name one in common",
    ):
        assert fault in said, str(refused)


@pytest.mark.timeout(600)
def test_machines_that_exist_become_a_cluster(raised: Raised, machines: Strangers) -> None:
    status = raised.lab.named("status", "-o", "json").assert_success().json()
    assert {node["name"]: node["kubernetes"] for node in status["nodes"]} == dict.fromkeys(MACHINES, "Ready")
    systems = {name: machines.run(name, ". /etc/os-release; echo $VERSION_ID").strip() for name in MACHINES}
    assert systems == {name: stranger.debian for name, stranger in MACHINES.items()}
    assert raised.lab.named("exec", "two", "--", "id", "-u").assert_success().stdout.strip() == "0"
    asked = f"dpkg-query --show --showformat='${{db:Status-Status}} ' {' '.join(MISSING)}"
    assert machines.run("two", asked).split() == ["installed"] * len(MISSING)


@pytest.mark.timeout(600)
def test_it_changes_nothing_a_second_time(raised: Raised) -> None:
    assert_changes_nothing_again(raised, nodes=tuple(MACHINES))


@pytest.mark.timeout(600)
def test_a_suite_passes_there(suite: Result) -> None:
    print(suite.stdout)
    suite.assert_success()


@pytest.mark.timeout(600)
def test_a_machine_that_does_not_answer_is_told(half_down: Result) -> None:
    half_down.assert_exit(3)
    assert "1 of 2 machines do not answer, and were not given back: two." in half_down.stderr
    assert "--forget" in half_down.stderr


@pytest.mark.timeout(600)
def test_the_machines_are_given_back_as_they_were(
    before: dict[str, list[str]], after: dict[str, list[str]]
) -> None:
    for name in MACHINES:
        gone = sorted(set(before[name]) - set(after[name]))
        new = sorted(set(after[name]) - set(before[name]))
        changes = [*(f"- {line}" for line in gone), *(f"+ {line}" for line in new)]
        assert not changes, "\n".join([name, *changes])
