"""A cluster by its kubeconfig alone, with a kubectl that keeps a small cluster in a file."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from lab.errors import BringUpError, InputError, PrerequisiteError, WaitTimeout
from lab.reach import stranger
from lab.reach.spaces import MANAGED, MANAGER, RUN, UNTIL
from lab.reach.stranger import Stranger

KUBECTL = f"""#!{sys.executable}
import fcntl, json, sys
from pathlib import Path
here = Path(__file__).parent
lock = open(here / "lock", "w")
fcntl.flock(lock, fcntl.LOCK_EX)  # pods are entered side by side
state = json.loads((here / "cluster.json").read_text())
words = [word for word in sys.argv[1:] if not word.startswith("--kubeconfig=")]
state["calls"].append(words)
match words:
    case ["get", "--raw", path]:
        place = path.partition("?")[0]
        if place == "/api/v1/nodes":
            found = {{"items": state["nodes"]}}
        elif place == "/api/v1/namespaces":
            found = {{"items": state["namespaces"]}}
        elif place.endswith("/daemonsets/view"):
            found = {{"status": {{"desiredNumberScheduled": len(state["nodes"])}}}}
        else:
            found = {{"items": state["pods"]}}
        print(json.dumps(found))
    case ["create", "-f", "-"]:
        state["created"] = json.loads(sys.stdin.read())
        if state["refuses"]:
            print("Error from server (Forbidden): privileged", file=sys.stderr)
            sys.exit(1)
    case ["exec", "-i", _, pod, "--", "sh", "-s"]:
        print(pod, sys.stdin.read().splitlines()[-1])
    case ["delete", "namespace", which, *_]:
        state["deleted"].append(which.removeprefix("--selector="))
(here / "cluster.json").write_text(json.dumps(state))
"""


class Small:
    """The cluster."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "cluster.json"
        self.kubectl = folder / "kubectl"
        self.kubeconfig = folder / "kubeconfig"
        self.kubectl.write_text(KUBECTL)
        self.kubectl.chmod(0o755)
        self.kubeconfig.write_text("")
        state = {"calls": [], "deleted": [], "namespaces": [], "refuses": False, "created": None}
        names = ("a", "b")
        state["nodes"] = [{"metadata": {"name": name}, "status": images("example/tools:1")} for name in names]
        state["pods"] = [pod(name) for name in names]
        self.write(state)

    def read(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.file.read_text())
        return found

    def write(self, state: dict[str, Any]) -> None:
        self.file.write_text(json.dumps(state))

    def change(self, **values: Any) -> None:
        self.write(self.read() | values)

    def stranger(self, image: str | None = None) -> Stranger:
        return Stranger(self.kubeconfig, image=image, kubectl=self.kubectl)


def images(*names: str) -> dict[str, Any]:
    return {"images": [{"names": list(names)}]}


def pod(node: str, *, ready: bool = True) -> dict[str, Any]:
    status: dict[str, Any] = {"phase": "Running", "conditions": [{"type": "Ready", "status": str(ready)}]}
    if not ready:
        waiting = {"reason": "ErrImagePull", "message": "no such image"}
        status["containerStatuses"] = [{"state": {"waiting": waiting}}]
    return {"metadata": {"name": f"view-{node}"}, "spec": {"nodeName": node}, "status": status}


@pytest.fixture
def small(tmp_path: Path) -> Small:
    return Small(tmp_path)


def test_a_pod_on_every_node_and_then_nothing(small: Small) -> None:
    with small.stranger() as reach:
        said = reach.run("echo hello", timeout=20)
        assert {name: result.stdout for name, result in said.items()} == {
            "a": "view-a echo hello\n",
            "b": "view-b echo hello\n",
        }
        assert list(reach.run("true", only=["b"])) == ["b"]
        assert small.read()["deleted"] == []
    state = small.read()
    assert state["deleted"] == [f"{RUN}={reach.namespace}"]
    namespace, daemon = state["created"]["items"]
    assert namespace["metadata"]["name"] == daemon["metadata"]["namespace"] == reach.namespace
    assert namespace["metadata"]["labels"].items() >= {MANAGED: MANAGER, RUN: reach.namespace}.items()
    assert namespace["metadata"]["annotations"][UNTIL] == reach.until
    spec = daemon["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    assert spec["hostNetwork"]
    assert container["image"] == "example/tools:1"
    assert container["securityContext"] == {"privileged": True}
    assert all(mount["readOnly"] for mount in container["volumeMounts"])


def test_the_image_is_the_users_if_there_is_one(small: Small) -> None:
    with small.stranger("example/other:2"):
        pass
    (_, daemon) = small.read()["created"]["items"]
    assert daemon["spec"]["template"]["spec"]["containers"][0]["image"] == "example/other:2"


def test_without_an_image_nothing_is_made(small: Small) -> None:
    small.change(
        nodes=[{"metadata": {"name": "a"}, "status": images("example/else@sha256:1", "example/else:1")}]
    )
    with pytest.raises(InputError, match="--image"), small.stranger():
        pass
    assert small.read()["created"] is None


def test_pods_that_do_not_run_are_named_and_all_is_removed(
    small: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stranger, "START", 0.0)
    small.change(pods=[pod("a"), pod("b", ready=False)])
    reach = small.stranger()
    with pytest.raises(WaitTimeout, match="b: ErrImagePull no such image"), reach:
        pass
    assert small.read()["deleted"] == [f"{RUN}={reach.namespace}"]


def test_what_the_cluster_refuses_is_removed_too(small: Small) -> None:
    small.change(refuses=True)
    reach = small.stranger()
    with pytest.raises(BringUpError, match="Forbidden"), reach:
        pass
    assert small.read()["deleted"] == [f"{RUN}={reach.namespace}"]


def test_a_failure_inside_removes_it(small: Small) -> None:
    reach = small.stranger()
    with pytest.raises(KeyboardInterrupt), reach:
        raise KeyboardInterrupt
    assert small.read()["deleted"] == [f"{RUN}={reach.namespace}"]


def test_what_a_killed_run_left_is_removed_once_it_is_old(small: Small) -> None:
    now = datetime.now(UTC)
    spaces = [
        {
            "metadata": {
                "name": name,
                "creationTimestamp": (now - age).isoformat(timespec="seconds").replace("+00:00", "Z"),
                "labels": {MANAGED: MANAGER},
                **({"annotations": {UNTIL: (now + end).isoformat()}} if end else {}),
            }
        }
        for name, age, end in (
            ("old", timedelta(hours=2), None),
            ("in-use", timedelta(minutes=1), None),
            ("long", timedelta(hours=2), timedelta(hours=1)),
            ("over", timedelta(minutes=9), timedelta(minutes=-1)),
        )
    ]
    small.change(namespaces=spaces)
    with small.stranger() as reach:
        pass
    assert small.read()["deleted"] == ["old", "over", f"{RUN}={reach.namespace}"]


def test_bad_input(small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="There is no kubeconfig"):
        Stranger(tmp_path / "absent", kubectl=small.kubectl)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(PrerequisiteError, match="no kubectl"):
        Stranger(small.kubeconfig)
