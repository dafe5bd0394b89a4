"""The conformance suites on a cluster that no lab made: what they are given of it, and where results go."""

from __future__ import annotations

from pathlib import Path

from lab import paths
from lab.errors import InputError, WaitTimeout
from lab.progress import Progress
from lab.reach import outside as here
from lab.reach.given import Given
from lab.reach.stranger import CONTAINER, TOOLS, Stranger
from lab.reach.survey import survey
from lab.report import results

RESULTS = Path("kube-service-lab-results")
PROBER = "/usr/local/bin/prober"
"""On every node, and in the image `tools`."""
MYTEST = "/usr/local/bin/mytest"
"""In the images `tools` and `mytest`."""
SLACK = 1800.0
"""Seconds that all but the suites themselves may take."""
TOOLS_IMAGE, SERVER_IMAGE = "tools", "mytest"
FLAGS = {TOOLS_IMAGE: "--image", SERVER_IMAGE: "--server-image"}


def life(timeout: float, parts: int) -> float:
    """After so many seconds a run of the suites in so many parts is over for certain."""
    return timeout * parts + SLACK


def given(
    reach: Stranger,
    *,
    name: str,
    server_image: str | None,
    outside: bool | None,
    disruptive: bool,
    progress: Progress,
) -> Given:
    """Find out all that the suites need.

    Args:
        reach: the cluster, its pods running.
        name: what it shall be called.
        server_image: mytest's; None: the lab's own, if the nodes have it.
        outside: whether this machine reaches the nodes' addresses; None: find out.
        disruptive: whether the user agreed to tests that disturb the whole cluster.
        progress: shows the steps.

    Raises:
        InputError: an image is missing, or lacks what it must have; kube-proxy is not one that is known.
        LabError: the cluster does not answer, or its nodes serve by several modes.
    """
    images = {
        TOOLS_IMAGE: reach.image or image(reach, TOOLS_IMAGE),
        SERVER_IMAGE: server_image or image(reach, SERVER_IMAGE),
    }
    with progress.step("Asking the cluster and its nodes what they are"):
        require_programs(reach, images[TOOLS_IMAGE])
        found = survey(reach, name)
        found.mode  # noqa: B018 -- raises where the nodes have several
        not_outside = "" if outside else "--no-outside was given"
        if outside is None:
            not_outside = here.why_not(node.address for node in found.nodes)
    return Given(
        survey=found,
        kubectl=Path(reach.program).absolute(),
        kubeconfig=reach.kubeconfig.absolute(),
        run=reach.namespace,
        until=reach.until,
        pods=reach.pods,
        container=CONTAINER,
        prepare=TOOLS,
        images=images,
        not_outside=not_outside,
        disruptive=disruptive,
    )


def image(reach: Stranger, name: str) -> str:
    """The lab's own image of that name, as the nodes have it.

    Raises:
        InputError: they do not.
    """
    found = reach.known_image(name)
    if found is None:
        raise InputError(
            f"The nodes do not have the lab's image {name}.",
            fix=f"push it where they can pull it (docs/any-cluster.md), and name it: {FLAGS[name]} IMAGE",
        )
    return found


def require_programs(reach: Stranger, image: str) -> None:
    """See that the pods on the nodes have what sends the suites' requests, and what answers them.

    Raises:
        InputError: their image is not the lab's.
        WaitTimeout: a pod does not answer.
    """
    both = f"test -x {MYTEST} && {PROBER} --serve </dev/null >/dev/null 2>&1"
    said = reach.run(f"{both} && echo there || echo missing")
    silent = [f"{node}: {result.stderr.strip()}" for node, result in said.items() if not result.ok]
    if silent:
        raise WaitTimeout("Pods that look at the nodes do not answer.", details=silent)
    if any(result.stdout.strip() != "there" for result in said.values()):
        raise InputError(
            f"The image {image} has no {PROBER} that sends the suites' requests, or no {MYTEST}.",
            fix=f"the lab's own: lab bundle build images-{TOOLS_IMAGE}, push it, name it with --image",
        )


def cluster_of(reach: Stranger) -> tuple[str, str]:
    """The name and the server of the cluster that the kubeconfig's current context is of.

    Raises:
        BringUpError: there is none.
    """
    path = "jsonpath={.clusters[0].name} {.clusters[0].cluster.server}"
    name, _, server = reach.kubectl("config", "view", "--minify", "-o", path).stdout.strip().partition(" ")
    return name, server


def results_folder(asked: Path | None) -> Path:
    """Where this run's results go: the folder asked for, else a fresh one below the current folder.

    Raises:
        InputError: that folder has results already.
    """
    if asked is None:
        return paths.fresh(RESULTS, "").absolute()
    if (asked / results.FILE).exists():
        raise InputError(f"There are results in {asked} already.", fix="name another folder: --results DIR")
    asked.mkdir(parents=True, exist_ok=True)
    return asked.absolute()
