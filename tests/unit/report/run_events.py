"""A run's events as the plugin writes them, for tests that need one in particular."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lab.report import results

FACTS: dict[str, Any] = {
    "suite": {"version": "0.1.0", "digest": "0123456789ab", "python": "3.13.5"},
    "arguments": [],
    "cluster": {
        "name": "lab",
        "provider": "uml",
        "kubernetes": "1.37.2",
        "network": "flannel",
        "nodes": [
            {
                "name": "node01",
                "address": "192.168.1.201",
                "control_plane": False,
                "versions": {"kernel": "7.2.12", "nft": "nftables v1.1.3"},
            }
        ],
    },
}
TEST = "tests/conformance/test_clusterip.py::test_answers[node01]"
FAILED: dict[str, Any] = {
    "wanted": "every request answered",
    "instead": "0 of 3 answered",
    "asked": ["exec", "node01", "--", "curl", "http://10.96.0.20"],
    "where": "/somewhere/tests/conformance/test_clusterip.py:42",
    "message": "expected every request answered\nand more",
    "traceback": "def test_answers(): ...",
    "sections": [["iptables rules on node01", "-A KUBE-SERVICES -j KUBE-SVC-X"]],
}


class Run:
    """Writes `results.jsonl` of one session, line by line."""

    def __init__(self, folder: Path, *, mode: str = "iptables", **facts: Any) -> None:
        self.folder, self.file, self.mode = folder, folder / results.FILE, mode
        folder.mkdir(parents=True, exist_ok=True)
        results.append(self.file, "run", version=results.VERSION, **{**FACTS, **facts})
        self.write("session", seed=None, connections=900)

    def write(self, event: str, **values: Any) -> None:
        results.append(self.file, event, mode=self.mode, **values)

    def test(self, test: str = TEST, *, outcome: str = "passed", phase: str = "call", **values: Any) -> None:
        """All lines of one test; `outcome` is that of `phase`, and the values are on it."""
        self.write("start", test=test)
        for name in ("setup", "call", "teardown"):
            if name == "call" and phase == "setup" and outcome != "passed":
                continue
            told = {
                "node": values.get("node", "node01"),
                "title": "answers",
                **(values if name == phase else {}),
            }
            what = outcome if name == phase else "passed"
            self.write("phase", test=test, phase=name, outcome=what, seconds=0.5, **told)

    def end(self, code: int = 0) -> None:
        self.write("end", exit=code)
        results.append(self.file, "done")
