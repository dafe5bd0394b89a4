"""Running a playbook against a lab with ansible-runner: bounded, shown while it runs, its artifacts kept."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible_runner import Runner, RunnerConfig

from lab import inventory, leftovers, paths, shell
from lab.ansible_events import Events
from lab.config import Config
from lab.errors import BringUpError, LabError, WaitTimeout
from lab.progress import Progress
from lab.providers.base import Provider
from lab.state import LabState, write_json, write_text

# Seconds that the other hosts' tasks may go on after one failed, to say what they found.
GRACE = 10.0

SETTINGS = """\
[defaults]
host_key_checking = False
retry_files_enabled = False
gathering = explicit
forks = {forks}
timeout = 30
# A node's journal is evidence of what it does, not of every task with its arguments.
no_target_syslog = True
home = {home}
# On the machine: in nobody's home, and gone with the next boot.
remote_tmp = /tmp/ansible-${{USER}}/tmp
local_tmp = {home}/tmp
roles_path = {playbooks}/roles
deprecation_warnings = False
nocolor = True
interpreter_python = /usr/bin/python3
{strategy}
[ssh_connection]
pipelining = True
# Everything else about connections is in the lab's own ssh/config.
ssh_args =
"""


@dataclass(frozen=True)
class Run:
    """A playbook that ran to its end.

    `changed` counts changed tasks a host; `timings` are tasks on hosts with their seconds, in order;
    `printed`, by task and host, are the lines of each command that changed something.
    """

    changed: Mapping[str, int]
    changed_tasks: tuple[str, ...]
    timings: tuple[tuple[str, float], ...]
    folder: Path
    seconds: float
    printed: Mapping[str, Mapping[str, tuple[str, ...]]] = field(default_factory=dict)

    @property
    def total_changed(self) -> int:
        """How many tasks changed something, all hosts together."""
        return sum(self.changed.values())


def run_playbook(
    name: str,
    *,
    config: Config,
    state: LabState,
    provider: Provider,
    extravars: Mapping[str, Any],
    progress: Progress,
    folder: Path,
    limit: str | None = None,
    timeout: int = 900,
    idle_timeout: int = 300,
) -> Run:
    """Run a playbook from the operator's place.

    Args:
        name: its file's name in the folder of playbooks, without `.yml`.
        config: the lab as it is to be.
        state: the lab's folder.
        provider: knows the way to its machines.
        extravars: what the source installs; the configuration's own are added.
        progress: is shown each task and host.
        folder: a run's folder; the artifacts go to `folder/NAME`.
        limit: only these hosts.
        timeout: seconds until the whole run is ended.
        idle_timeout: seconds without a word from Ansible until it is ended.

    Raises:
        BringUpError: a task failed: names it, its host, what it said and where the artifacts are.
        WaitTimeout: the run was ended after one of the two times.
        KeyboardInterrupt: Ctrl-C; the run and all its processes were ended.
    """
    private = folder / name
    home = private / "ansible-home"
    (home / "tmp").mkdir(parents=True, exist_ok=True)
    playbooks = paths.share("playbooks")
    settings = SETTINGS.format(
        forks=max(5, len(config.nodes)), home=home, playbooks=playbooks, strategy=_strategy()
    )
    write_text(private / "ansible.cfg", settings)
    write_json(private / "env" / "extravars", {**inventory.extravars(config), **extravars})
    # As a file: ansible-runner 2.4 forgets the settings it is given when there is none.
    write_json(private / "env" / "settings", {"idle_timeout": idle_timeout, "pexpect_timeout": 1})
    ours = {
        "ANSIBLE_CONFIG": str(private / "ansible.cfg"),
        "LC_ALL": "C.UTF-8",
        # Mitogen leaves its socket there when it is killed: it goes with the lab.
        "TMPDIR": str(state.make_sockets_dir()),
        "PYTHONUNBUFFERED": "1",
        **leftovers.mark(private),
    }
    setup = RunnerConfig(
        private_data_dir=str(private),
        project_dir=str(playbooks),
        playbook=f"{name}.yml",
        inventory=str(inventory.write(private / "inventory.json", config, state, provider)),
        ident="run",
        artifact_dir=str(private / "artifacts"),
        fact_cache="facts",
        envvars=ours,
        limit=limit,
        quiet=True,
        timeout=timeout,
    )
    setup.prepare()
    # ansible-runner takes the whole environment over; how the user sets Ansible up elsewhere is not ours.
    for key, value in os.environ.items():
        if key.startswith("ANSIBLE_") and key not in ours and setup.env.get(key) == value:
            del setup.env[key]
    playbook_command = [str(Path(sys.executable).with_name("ansible-playbook")), *setup.command[1:]]
    setup.command = shell.tethered(provider.operator(), playbook_command)
    events = Events(show=progress.activity)
    begun = time.monotonic()
    with _interrupts() as interrupted:

        def over() -> bool:
            # A host that failed may have left others waiting for it: a node for its control plane.
            return interrupted.is_set() or events.seconds_since_failure > GRACE

        runner = Runner(setup, event_handler=events.handle, cancel_callback=over)
        try:
            status, _ = runner.run()
        except BaseException:
            leftovers.end(private)
            raise
    if status != "successful":
        leftovers.end(private)
    seconds = time.monotonic() - begun
    run = Run(
        events.changed, tuple(events.changed_tasks), tuple(events.timings), private, seconds, events.printed
    )
    write_text(private / "timings.txt", "".join(f"{took:7.2f} s  {task}\n" for task, took in run.timings))
    if interrupted.is_set() or (status == "canceled" and not events.failures):
        raise KeyboardInterrupt
    if status != "successful":
        limit = f"{timeout} s in all" if seconds >= timeout else f"{idle_timeout} s without a word"
        raise _failure(name, status, events, private, limit)
    return run


def _strategy() -> str:
    """Mitogen where it is installed: a task costs a third there. `LAB_ANSIBLE=plain` does without."""
    found = importlib.util.find_spec("ansible_mitogen")
    if os.environ.get("LAB_ANSIBLE") == "plain" or found is None or found.origin is None:
        return "strategy = linear\n"
    plugins = Path(found.origin).parent / "plugins" / "strategy"
    return f"strategy = mitogen_linear\nstrategy_plugins = {plugins}\n"


def _failure(name: str, status: str, events: Events, private: Path, limit: str) -> LabError:
    details = [
        f"{f.task} — {f.host}" + "".join(f"\n      {line}" for line in f.lines) for f in events.failures
    ]
    now = time.monotonic()
    details += [
        f"not done: {task} — {host}, for {now - begun:.0f} s"
        for host, (task, begun) in events.running.items()
    ]
    if not details:
        with contextlib.suppress(OSError):
            said = (private / "artifacts" / "run" / "stdout").read_text(errors="replace")
            details += shell.tail(said, 15)
    details.append(f"kept for reading: {private}")
    if status == "timeout":
        return WaitTimeout(f"The playbook {name} was ended after {limit}.", details=details)
    hosts = ", ".join(dict.fromkeys(failure.host for failure in events.failures))
    where = f" on {hosts}" if hosts else ""
    return BringUpError(f"The playbook {name} failed{where}.", details=details)


@contextlib.contextmanager
def _interrupts() -> Iterator[threading.Event]:
    """Ctrl-C and SIGTERM set an event: an exception inside ansible-runner would leave its child running."""
    event = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield event
        return
    signals = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, lambda *_: event.set()) for number in signals}
    try:
        yield event
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
