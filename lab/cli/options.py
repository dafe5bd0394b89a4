"""Options that several verbs share, and how they find the lab that is meant."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from lab.cli import completion
from lab.config import DEFAULT_FILE, Config, load
from lab.errors import InputError
from lab.progress import Progress
from lab.providers.base import Provider
from lab.reach.base import Reach
from lab.state import LabState


class Output(StrEnum):
    """How a result is printed."""

    TEXT = "text"
    JSON = "json"


Name = Annotated[
    str | None,
    typer.Option(
        "--name",
        metavar="NAME",
        envvar="KUBE_SERVICE_LAB_NAME",
        help="The lab's name (default: lab).",
        autocompletion=completion.labs,
    ),
]
ConfigFile = Annotated[
    str | None,
    typer.Option("--config", metavar="FILE", help="YAML file, - for stdin (default: ./lab.yaml if there)."),
]
ProviderOption = Annotated[
    str | None,
    typer.Option(
        "--provider",
        metavar="NAME",
        help="Where machines come from: uml, podman, ssh or vagrant.",
        autocompletion=completion.providers,
    ),
]
ModeOption = Annotated[
    str | None,
    typer.Option(
        "--proxy-mode",
        metavar="MODE",
        help="iptables, ipvs or nftables.",
        autocompletion=completion.proxy_modes,
    ),
]
AddonOption = Annotated[
    list[str] | None,
    typer.Option(
        "--addon",
        metavar="NAME",
        help="What the lab has besides Kubernetes: metallb. May be given several times.",
        autocompletion=completion.addons,
    ),
]
OutputOption = Annotated[Output, typer.Option("-o", "--output", help="How to print the result.")]
Kubeconfig = Annotated[
    Path | None,
    typer.Option("--kubeconfig", metavar="FILE", help="Any cluster instead of a lab: its kubeconfig."),
]
Image = Annotated[
    str | None,
    typer.Option(
        "--image",
        metavar="IMAGE",
        help="With --kubeconfig: the image of the pods that look at the nodes (default: the lab's own).",
    ),
]
InstallTools = Annotated[
    bool, typer.Option("--install-missing", help="As root on Debian: install missing host tools.")
]
Verbose = Annotated[bool, typer.Option("-v", "--verbose", help="Show every task as a line.")]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="Show nothing but warnings and failures.")]


@dataclass(frozen=True)
class Living:
    """A lab that is there."""

    config: Config
    state: LabState
    provider: Provider


def path_of(config_file: str | None) -> Path | None:
    """`--config` as `lab.config.load` takes it."""
    return None if config_file is None else Path(config_file)


def name_of(name: str | None) -> str:
    """The lab that is meant: `--name`, else the one of ./lab.yaml, else `lab`."""
    if name is not None:
        return name
    return load(None).name if DEFAULT_FILE.is_file() else Config().name


def living(name: str | None) -> Living:
    """The lab that is meant.

    Raises:
        InputError: there is none, or its own notes are broken.
    """
    from lab import providers  # noqa: PLC0415 -- a provider's needs are loaded when one is used

    state = LabState(name_of(name))
    config = state.read_config()
    if config is None:
        there = ", ".join(other.name for other in LabState.all()) or "none"
        raise InputError(
            f"There is no lab {state.name!r}.", details=[f"labs: {there}"], fix=f"lab up --name {state.name}"
        )
    return Living(config, state, providers.get(config, state))


def progress_of(*, verbose: bool = False, quiet: bool = False) -> Progress:
    """The display of one command."""
    return Progress(verbose=verbose, quiet=quiet)


@contextmanager
def reached(
    name: str | None, kubeconfig: Path | None, image: str | None, progress: Progress
) -> Iterator[Reach]:
    """The cluster that is meant, for as long as it is looked at."""
    with ExitStack() as stack:
        with nullcontext() if kubeconfig is None else progress.step("Starting a pod on every node"):
            found = stack.enter_context(reach(name, kubeconfig, image))
        yield found


def either(name: str | None, kubeconfig: Path | None) -> None:
    """See that a lab or any cluster is named, not both.

    Raises:
        InputError: both are.
    """
    if name is not None and kubeconfig is not None:
        raise InputError("--name and --kubeconfig are two ways to say which cluster: give one.")


def reach(name: str | None, kubeconfig: Path | None, image: str | None) -> Reach:
    """The way to the cluster that is meant: a lab, or any by its kubeconfig.

    Raises:
        InputError: there is no such lab or file, or options that exclude each other.
    """
    if kubeconfig is None:
        if image is not None:
            raise InputError("--image is for a cluster named by --kubeconfig: a lab's nodes need no pods.")
        from lab.reach.own import OwnLab  # noqa: PLC0415

        lab = living(name)
        return OwnLab(lab.config, lab.state, lab.provider)
    either(name, kubeconfig)
    from lab.reach.stranger import Stranger, own_kubectl  # noqa: PLC0415

    return Stranger(kubeconfig, image=image, kubectl=own_kubectl())
