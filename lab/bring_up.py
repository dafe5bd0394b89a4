"""Bringing a lab up: the order is `STEPS`, read it like a contents page. Run again, it changes nothing."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from lab import ansible, checks, evidence, host, kubeconfig, leftovers, nodes, providers, sources
from lab.config import Config
from lab.errors import BringUpError, InputError, LabError, WaitTimeout
from lab.progress import Progress
from lab.providers.base import Provider
from lab.sources.base import Source
from lab.state import LabState, write_json


@dataclass
class BringUp:
    """One run of `lab up`, and what it has found so far."""

    config: Config
    state: LabState
    provider: Provider
    source: Source
    progress: Progress
    install_missing: bool = False
    timeout: int | None = None
    folder: Path = Path()
    changes: list[str] = field(default_factory=list)
    ports: dict[str, int] = field(default_factory=dict)
    begun: float = field(default_factory=time.monotonic)

    def told(self) -> dict[str, object]:
        """What the playbooks are told beside the configuration."""
        return {**self.source.extravars(self.config), "fetch_dir": str(kubeconfig.fetched(self.state))}

    def vars(self) -> dict[str, object]:
        """The same for machines that run, with the way that they have to a proxy."""
        told = self.told()
        proxy = str(told.get("http_proxy", ""))
        return {**told, "http_proxy": self.provider.way_out(proxy)} if proxy else told

    def play(self, name: str) -> ansible.Run:
        """Run a playbook on this lab."""
        kubernetes, addons = self.config.kubernetes, len(self.config.addons.asked)
        return ansible.run_playbook(
            name,
            config=self.config,
            state=self.state,
            provider=self.provider,
            extravars=self.vars(),
            progress=self.progress,
            folder=self.folder,
            # The control plane, then nodes, mytest, CoreDNS and each add-on, and a little for all the rest.
            timeout=self.timeout
            or kubernetes.control_plane_timeout + (3 + addons) * kubernetes.settle_timeout + 120,
            idle_timeout=max(300, kubernetes.control_plane_timeout + 60, kubernetes.settle_timeout + 60),
        )


def check_the_host(run: BringUp) -> None:
    """Everything that is missing or in the way, all at once, before anything is touched."""
    found = checks.everything(run.config, run.state, run.provider, run.source)
    names = checks.missing_packages(found)
    if run.install_missing and names and host.can_install():
        host.install(names, run.progress)
        found = checks.everything(run.config, run.state, run.provider, run.source)
    checks.require(found)


def build_what_is_missing(run: BringUp) -> None:
    """Kubernetes, the kernel, the nodes' disk: quick when all of it is there."""
    run.source.ensure(run.config, run.progress)


def open_the_lab(run: BringUp) -> None:
    """From here on the lab is there, and `lab down` takes it away whatever happens.

    One whose bring-up never came to its end starts over: nobody knows what state its machines are in.
    """
    run.state.make()
    leftovers.end(run.state.dir)
    if not run.state.finished_file.exists():
        run.provider.down()
        run.state.start_over()
    run.state.write_config(run.config)
    write_json(run.state.told_file, run.told())
    kubeconfig.fetched(run.state).mkdir(mode=0o700, exist_ok=True)
    run.folder = run.state.new_run("up")


def start_the_machines(run: BringUp) -> None:
    """Machines that answer by ssh."""
    if run.provider.up(run.source.machine_image(run.config)):
        run.changes.append("machines were started")


def form_the_cluster(run: BringUp) -> None:
    """kubeadm, network, kube-proxy, CoreDNS, mytest; the playbook ends when all of it works."""
    done = run.play("site")
    if done.total_changed:
        run.changes.append(f"{done.total_changed} tasks changed something")


def check_the_proxy_mode(run: BringUp) -> None:
    """The mode in effect on each node, held against the one asked for."""
    nodes.require_mode(run.config, run.state, run.provider)


def open_the_ports(run: BringUp) -> None:
    """The API server and NodePorts on 127.0.0.1, and the kubeconfigs."""
    run.ports = run.provider.forward()
    kubeconfig.write(run.state, run.ports)
    write_json(run.state.ports_file, run.ports)
    run.state.finished_file.touch()


STEPS: tuple[tuple[str, Callable[[BringUp], None]], ...] = (
    ("Checking the host", check_the_host),
    ("Building what is missing", build_what_is_missing),
    ("Opening the lab", open_the_lab),
    ("Starting the machines", start_the_machines),
    ("Forming the cluster", form_the_cluster),
    ("Checking the proxy mode of every node", check_the_proxy_mode),
    ("Opening ports on 127.0.0.1", open_the_ports),
)


def up(
    config: Config,
    progress: Progress,
    *,
    install_missing: bool = False,
    adopt: bool = False,
    timeout: int | None = None,
) -> BringUp:
    """Bring a lab up, or see that it is up.

    Args:
        config: the lab as asked for.
        progress: is shown every step.
        install_missing: install missing Debian packages, as root.
        adopt: remove a Kubernetes that is on the machines already.
        timeout: seconds for forming the cluster; None is what the timeouts in the configuration add up to.

    Returns:
        The run, with what it changed.

    Raises:
        InputError: there is a lab of that name with another configuration.
        PrerequisiteError: something is missing on this host.
        BringUpError: a step failed.
        WaitTimeout: a wait ended.
    """
    state = LabState(config.name)
    provider, source = providers.get(config, state), sources.get(config.source)
    provider.adopt = adopt
    run = BringUp(config, state, provider, source, progress, install_missing, timeout)
    with state.lock(verb="lab up"):
        refuse_another(state.read_config(), config)
        for title, step in STEPS:
            try:
                with progress.step(title):
                    step(run)
            except (BringUpError, WaitTimeout) as error:
                add_evidence(run, title, error)
                raise
            except KeyboardInterrupt:
                progress.warn(what_is_left(run, title))
                raise
    return run


def refuse_another(there: Config | None, wanted: Config) -> None:
    """See that a lab that is there has the configuration that is asked for.

    Raises:
        InputError: it has not; says what differs and what to do.
    """
    if there is None or there == wanted:
        return
    differences = list(difference(there.model_dump(mode="json"), wanted.model_dump(mode="json")))
    only_mode = all(line.startswith("proxy.mode:") for line in differences)
    raise InputError(
        f"There is a lab {wanted.name!r} already, with another configuration.",
        details=differences,
        fix=f"lab proxy-mode --name {wanted.name} {wanted.proxy.mode}"
        if only_mode
        else f"lab down --name {wanted.name}, or another --name",
    )


def difference(there: object, wanted: object, path: str = "") -> list[str]:
    """Where two configurations differ, one line a key."""
    if isinstance(there, dict) and isinstance(wanted, dict):
        keys = dict.fromkeys([*there, *wanted])
        return [
            line
            for key in keys
            for line in difference(there.get(key), wanted.get(key), f"{path}.{key}" if path else str(key))
        ]
    return [] if there == wanted else [f"{path}: is {there}, asked for is {wanted}"]


def add_evidence(run: BringUp, title: str, error: LabError) -> None:
    """Add to an error what the nodes' logs say, where all of it is kept, and how to go on."""
    if run.folder == Path():
        return  # nothing was started yet
    run.progress.note("Reading what the nodes' logs say …")
    error.details = (f"while: {title}", *error.details, *evidence.of_failure(run, error))
    error.fix = error.fix or how_to_go_on(run)


def what_is_left(run: BringUp, title: str) -> str:
    """What an interrupted run leaves, and how to go on."""
    if run.folder == Path():
        return f"interrupted while: {title}. Nothing of the lab was started; what was built is kept."
    machines = ", ".join(f"{name} {status}" for name, status in run.provider.status().items())
    return f"interrupted while: {title}. Left: {machines}; {run.state.dir}\n{how_to_go_on(run)}"


def how_to_go_on(run: BringUp) -> str:
    """The two commands that go on after a lab was brought up half-way."""
    name = run.state.name
    kind = "the same" if run.provider.machines_stay else "fresh"
    again = "tries again" if run.state.finished_file.exists() else f"starts over with {kind} machines"
    return f"`lab up --name {name}` {again}, `lab down --name {name}` takes all of it away"
