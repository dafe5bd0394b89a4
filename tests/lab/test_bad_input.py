"""Bad input: one message with every fault, the right exit code, and nothing touched."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from harness import Lab

BAD_INPUT = 2
PREREQUISITE_MISSING = 5


@dataclass(frozen=True)
class Case:
    """A configuration, and every piece that the message must hold."""

    name: str
    config: str
    said: tuple[str, ...]
    flags: tuple[str, ...] = ()


CASES = (
    Case("unknown key", "proxi: {mode: ipvs}", ("proxi", "did you mean proxy")),
    Case("unknown inner key", "proxy: {modus: ipvs}", ("proxy.modus", "did you mean mode")),
    Case("unknown mode", "proxy: {mode: iptable}", ("proxy.mode", "'iptable'", "iptables, ipvs, nftables")),
    Case(
        "unknown mode by flag",
        "",
        ("proxy.mode", "'userspace'", "iptables, ipvs, nftables"),
        ("--proxy-mode", "userspace"),
    ),
    Case("unknown version", "kubernetes: {version: 1.2.3}", ("kubernetes.version", "1.2.3", "1.37.2")),
    Case("unknown provider", "provider: docker", ("provider", "'docker'", "uml, podman")),
    Case("bad name", "name: My_Lab", ("name", "'My_Lab'", "DNS label")),
    Case(
        "overlapping networks",
        "kubernetes: {pod_cidr: 10.96.0.0/16}",
        ("kubernetes.pod_cidr", "10.96.0.0/16", "overlaps", "kubernetes.service_cidr"),
    ),
    Case("subnet too small", "network: {subnet: 192.168.1.0/30}", ("network.subnet", "no room for 3 nodes")),
    Case(
        "three faults at once",
        "proxy: {mode: x}\nmachine: {memory: 12}\nfoo: 1",
        ("proxy.mode", "machine.memory", "foo", "3 faults"),
    ),
    Case("not YAML", "name: [", ("YAML",)),
)


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    root = tmp_path / "root"
    root.mkdir()
    return Lab("bad-input", root)


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        yield sock.getsockname()[1]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_says_every_fault_and_touches_nothing(lab: Lab, tmp_path: Path, case: Case) -> None:
    file = tmp_path / "lab.yaml"
    file.write_text(case.config + "\n")

    result = lab.run("up", "--config", str(file), *case.flags, timeout=60).assert_exit(BAD_INPUT)

    said = " ".join(result.stderr.split())
    assert [piece for piece in case.said if piece not in said] == [], str(result)
    assert result.stdout == ""
    assert lab.left() == []


def test_reads_a_configuration_from_standard_input(lab: Lab) -> None:
    result = lab.run("up", "--config", "-", stdin="nodes: []\n", timeout=60).assert_exit(BAD_INPUT)

    assert "standard input" in result.stderr
    assert lab.left() == []


def test_a_port_in_use_is_a_missing_prerequisite(lab: Lab, tmp_path: Path, taken_port: int) -> None:
    file = tmp_path / "lab.yaml"
    file.write_text(f"name: bad-input\nforward: {{api: {taken_port}}}\n")

    result = lab.run("up", "--config", str(file), timeout=60).assert_exit(PREREQUISITE_MISSING)

    assert str(taken_port) in result.stderr
    assert lab.left() == []


def test_too_much_memory_is_a_missing_prerequisite(lab: Lab, tmp_path: Path) -> None:
    file = tmp_path / "lab.yaml"
    file.write_text("name: bad-input\nmachine: {memory: 99999999}\n")

    result = lab.run("up", "--config", str(file), timeout=60).assert_exit(PREREQUISITE_MISSING)

    assert "memory" in result.stderr
    assert lab.left() == []


@pytest.mark.parametrize(
    "arguments", [("no-such-verb",), ("up", "--no-such-flag"), ("down", "--name", "Bad_Name")]
)
def test_a_command_line_that_is_not_understood(lab: Lab, arguments: tuple[str, ...]) -> None:
    lab.run(*arguments, timeout=60).assert_exit(BAD_INPUT)

    assert lab.left() == []


def test_down_of_a_lab_that_never_was_succeeds(lab: Lab) -> None:
    lab.named("down", timeout=60).assert_success()

    assert lab.left() == []
