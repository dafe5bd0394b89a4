"""The source `upstream`, the whole path of it: repositories, signatures, packages, registries, digests.

Against a stand-in with our own builds (`stand_in.py`); the product knows only URLs, keys and digests.
"""

from __future__ import annotations

import copy
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from harness import Lab, MakeLab
from one_machine import NODE, OneMachine, one_machine
from raised import NODES, Raised, assert_changes_nothing_again, raise_lab
from stand_in import COMPONENTS, TOOLS, StandIn, spoiled, stand_in

from lab import host, pins
from lab.progress import Progress
from lab.sources import built

MISSING = sorted({package for tool, package in TOOLS.items() if shutil.which(tool) is None})
PAUSE = pins.of(pins.known()[0]).images["pause"].name
OTHER_DIGEST = "sha256:" + "0" * 64
WITHOUT = f"it needs root, podman, and for the stand-in {', '.join(TOOLS)}"

pytestmark = [
    pytest.mark.skipif(
        os.geteuid() != 0 or (bool(MISSING or not shutil.which("podman")) and "CI" not in os.environ),
        reason=WITHOUT,
    ),
    # Whichever comes first makes what the others share, and where nothing is built yet, builds.
    pytest.mark.timeout(1800),
]


@pytest.fixture(scope="module")
def there(make_lab: MakeLab) -> Iterator[StandIn]:
    lab = make_lab("build")
    lab.run("doctor", "--provider", "podman", "--install", timeout=900).assert_success()
    host.install(MISSING, Progress(quiet=True))
    lab.run("bundle", "build", *COMPONENTS, timeout=1200).assert_success()
    with stand_in(built.builder(pins.known()[0])) as made:
        yield made


@pytest.fixture(scope="module")
def lab(make_lab: MakeLab, there: StandIn) -> Iterator[Lab]:
    one = make_lab("upstream")
    with there.beside(one):
        yield one
        one.named("down", timeout=180).assert_success()


@pytest.fixture(scope="module")
def raised(lab: Lab, there: StandIn) -> Iterator[Raised]:
    """A lab that gets its packages through a proxy on this host, and its images from a mirror on its LAN."""
    with there.proxied() as upstream:
        yield raise_lab(lab, yaml.safe_dump(asked(there, **upstream)))


def asked(there: StandIn, **upstream: Any) -> dict[str, Any]:
    """A configuration that leads to the stand-in."""
    return {
        "provider": "podman",
        "source": "upstream",
        "upstream": {**copy.deepcopy(there.upstream()), **upstream},
    }


@pytest.fixture(scope="module")
def machine(make_lab: MakeLab, there: StandIn) -> Iterator[OneMachine]:
    lab = make_lab("turns")
    with there.beside(lab), one_machine(lab, asked(there)) as machine:
        yield machine


@pytest.fixture(scope="module")
def refusals(machine: OneMachine, there: StandIn) -> dict[str, list[str]]:
    """What one machine says when it is asked for what must be refused, the earliest first."""
    said = {}
    with signed_by_another(there):
        said["list"] = machine.refusal(asked(there))
    (deb,) = there.repository.rglob("kubeadm_*.deb")
    with spoiled(deb):
        said["package"] = machine.refusal(asked(there))
    said["digest"] = machine.refusal(asked(there, digests={**there.digests, PAUSE: OTHER_DIGEST}))
    with spoiled(layer(there, PAUSE)):
        said["layer"] = machine.refusal(asked(there))
    return said


@pytest.fixture(scope="module")
def given_back(machine: OneMachine, refusals: dict[str, list[str]]) -> tuple[set[str], set[str]]:
    """What could be seen of the machine when all was installed, and once it was given back."""
    del refusals
    installed = machine.snapshot()
    machine.give_back()
    return installed, machine.snapshot()


@contextmanager
def signed_by_another(there: StandIn) -> Iterator[None]:
    """The lists of the repositories are signed by a key that nobody offers."""
    key = (there.repository / "key.asc").read_text()
    there.make_key("somebody@else.example")
    (there.repository / "key.asc").write_text(key)
    there.sign_by("somebody@else.example")
    try:
        yield
    finally:
        there.sign_by("packages@stand-in.example")


def layer(there: StandIn, image: str) -> Path:
    """Where the registry keeps the one layer of an image."""

    def blob(digest: str) -> Path:
        plain = digest.removeprefix("sha256:")
        return there.folder / f"registry/docker/registry/v2/blobs/sha256/{plain[:2]}/{plain}/data"

    (one,) = json.loads(blob(there.digests[image]).read_text())["layers"]
    return blob(one["digest"])


def said(lines: list[str], *words: str) -> bool:
    return any(all(word in line for word in words) for line in lines)


def test_a_key_with_another_fingerprint_is_refused(make_lab: MakeLab, there: StandIn) -> None:
    other = "0123456789ABCDEF0123456789ABCDEF01234567"
    lab = make_lab("refused")
    file = lab.root / "lab.yaml"
    values = asked(there, kubernetes={**there.upstream()["kubernetes"], "fingerprint": other})
    file.write_text(yaml.safe_dump({**values, "nodes": [NODE]}))
    with there.beside(lab):
        result = lab.named("up", "--config", str(file), timeout=180)
        lab.named("down", timeout=60).assert_success()

    result.assert_exit(3)
    lines = [line.strip() for line in result.stderr.splitlines()]
    assert sum("failed on master" in line for line in lines) == 1, str(result)
    assert said(lines, "the key of the repository kubernetes", there.fingerprint, other), lines


def test_a_list_signed_by_another_key_is_refused(refusals: dict[str, list[str]]) -> None:
    assert said(refusals["list"], "is not signed"), refusals


def test_a_tampered_package_is_refused(refusals: dict[str, list[str]]) -> None:
    assert said(refusals["package"], "kubeadm"), refusals
    assert said(refusals["package"], "Hash Sum mismatch"), refusals


def test_an_image_with_another_digest_is_refused(refusals: dict[str, list[str]]) -> None:
    image = f"{PAUSE.rpartition(':')[0]}@{OTHER_DIGEST}"
    assert said(refusals["digest"], f"{image} was not pulled", "not found"), refusals


def test_an_image_that_was_tampered_with_is_refused(refusals: dict[str, list[str]], there: StandIn) -> None:
    image = f"{PAUSE.rpartition(':')[0]}@{there.digests[PAUSE]}"
    assert said(refusals["layer"], f"{image} was not pulled"), refusals


def test_a_machine_is_given_back_without_packages_repositories_and_keys(
    machine: OneMachine, given_back: tuple[set[str], set[str]]
) -> None:
    installed, after = given_back
    for what in ("package kubelet ", "package containerd.io ", "/sources.list.d/kube", "/keyrings/kube"):
        assert any(what in line for line in installed - machine.before), f"{what} was never there"
    gone, left = sorted(machine.before - after), sorted(after - machine.before)
    assert not [*gone, *left], "\n".join([*(f"- {line}" for line in gone), *(f"+ {line}" for line in left)])


def test_machines_run_the_packaged_programs(raised: Raised) -> None:
    for node in NODES:
        listed = raised.lab.named(
            "exec", node, "--", "dpkg-query", "--show", "--showformat=${Package} ${Version} ${Status}\\n"
        ).assert_success()
        installed = {
            line.split()[0]: line.split()[1] for line in listed.stdout.splitlines() if " ok " in line
        }
        assert installed["kubelet"] == f"{pins.known()[0]}-1.1"
        assert installed["containerd.io"].endswith("~bookworm")
        for process in ("kubelet", "containerd"):
            path = raised.lab.named(
                "exec", node, "--", "sh", "-c", f"readlink /proc/$(pidof {process})/exe"
            ).assert_success()
            assert path.stdout.strip() == f"/usr/bin/{process}"


def test_pods_run_the_images_of_the_registries(raised: Raised, there: StandIn) -> None:
    images = '--output=jsonpath={range .items[*].status.containerStatuses[*]}{.image} {.imageID}{"\\n"}{end}'
    listed = raised.lab.named("kubectl", "--", "get", "pods", "--all-namespaces", images).assert_success()
    running = dict(line.split() for line in listed.stdout.splitlines())
    pulled = {name: there.digests[name] for name in there.digests if name in running}
    assert len(pulled) == 7, running  # all but pause and flannel's init container
    for name, digest in pulled.items():
        assert running[name].endswith(digest), f"{name}: {running[name]}"
    # Not loaded: asked for, by every machine, of the registry.
    log = (there.folder / "registry.log").read_text()
    for node in (200, 201, 202):
        assert f'"192.168.1.{node}:' in log or f"192.168.1.{node} " in log, (
            f"192.168.1.{node} asked for nothing"
        )


@pytest.mark.usefixtures("raised")
def test_packages_came_through_the_proxy(there: StandIn) -> None:
    log = (there.folder / "tinyproxy.log").read_text()
    assert "/key.asc" in log
    assert log.count("/kubelet_") == len(NODES), log


def test_the_operators_kubectl_is_that_of_the_package(raised: Raised) -> None:
    version = raised.lab.named("kubectl", "--", "version", "--output=json").assert_success().json()
    assert version["clientVersion"]["gitVersion"] == f"v{pins.known()[0]}"


def test_up_again_changes_nothing(raised: Raised) -> None:
    assert_changes_nothing_again(raised)


def test_every_service_is_served_on_every_node(raised: Raised) -> None:
    raised.lab.named("verify", timeout=100).assert_success()


def test_without_a_mirror_machines_that_reach_none_are_refused(lab: Lab) -> None:
    result = lab.run(
        "up", "--config", "-", stdin="name: far\nprovider: podman\nsource: upstream\n"
    ).assert_exit(5)
    assert "reach only the lab's LAN 192.168.1.0/24" in result.stderr
    assert "upstream.proxy" in result.stderr
