"""Whether this machine is a client of a cluster's nodes; nothing goes where only the default route leads."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.reach import outside

IP = """#!/bin/sh
case $4 in
  127.*) echo '[{"dst":"'$4'","dev":"lo"}]';;
  10.*) echo '[{"dst":"'$4'","dev":"eth0"}]';;
  *) echo '[{"dst":"'$4'","gateway":"10.0.0.1","dev":"eth0"}]';;
esac
"""


class Health(http.server.BaseHTTPRequestHandler):
    """Answers as kube-proxy's healthz port does, or as another server."""

    says = b'{"lastUpdated":"2026-11-28T10:00:00Z","nodeEligible":true}'

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.says)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture(autouse=True)
def _routes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "ip"
    program.write_text(IP)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Health]]:
    class Here(Health):
        pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Here) as server:
        monkeypatch.setattr(outside, "HEALTH", server.server_address[1])
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield Here
        server.shutdown()


def test_a_kube_proxy_on_a_network_of_ours_is_reached(answers: type[Health]) -> None:
    del answers
    assert outside.why_not(["127.0.0.1"]) == ""


def test_another_server_is_no_node(answers: type[Health]) -> None:
    answers.says = b"<html>It works!</html>"
    assert outside.why_not(["127.0.0.1"]) == "this machine does not reach the nodes at 127.0.0.1"


def test_where_nothing_listens_is_no_node(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outside, "HEALTH", 1)
    assert outside.why_not(["127.0.0.1"]) != ""


def test_nothing_is_sent_where_the_default_route_leads(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def ask(address: str) -> bool:
        asked.append(address)
        return True

    monkeypatch.setattr(outside, "is_kube_proxy", ask)
    said = outside.why_not(["10.1.2.3", "192.168.1.200", "192.168.1.201"])
    assert said == "this machine does not reach the nodes at 192.168.1.200, 192.168.1.201"
    assert asked == ["10.1.2.3"]


def test_without_a_program_that_tells_routes_nothing_is_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert not outside.on_link("10.1.2.3")
