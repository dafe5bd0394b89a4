"""Running the conformance suites against a lab, from the operator's place, with JUnit XML for each run."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lab import evidence, leftovers, paths, shell
from lab.config import Config
from lab.errors import InputError, LabError, WaitTimeout
from lab.progress import Progress
from lab.providers.base import Provider
from lab.report import results
from lab.state import LabState

# pytest's exit codes (docs.pytest.org, "Exit codes")
PASSED, FAILED, INTERRUPTED, INTERNAL, USAGE, NOTHING = range(6)
EVERYTHING = "switch or disruptive or not disruptive"
"""The mark expression that leaves no test out."""
Part = tuple[str, list[str]]
"""A part of the suites: its name (empty: the main one), and pytest's arguments."""
GRACE = 30.0  # seconds for pytest's fixtures to put back what they changed


@dataclass(frozen=True)
class Place:
    """Where the suites run, and what they are told of the cluster."""

    cluster: tuple[str, ...]
    """pytest's arguments that say which cluster: `--lab NAME`, or `--given FILE`."""
    operator: tuple[str, ...] = ()
    """What a command begins with to run at the operator's place; empty: this host as it is."""

    @classmethod
    def of_lab(cls, name: str, provider: Provider | None = None) -> Place:
        """The operator's place on a lab's network; without the provider for collecting alone."""
        return cls(("--lab", name), tuple(provider.operator()) if provider else ())


@dataclass(frozen=True)
class Verdict:
    """What one run of the suites came to, from its JUnit XML; `seconds` is wall time."""

    mode: str
    passed: int
    failed: int
    skipped: int
    seconds: float
    junit: Path

    @property
    def ok(self) -> bool:
        """Whether something ran and nothing failed."""
        return self.failed == 0 and self.passed > 0


def run(
    state: LabState,
    provider: Provider,
    *,
    mode: str,
    args: Sequence[str],
    folder: Path,
    part: str = "",
    timeout: float = 3600,
    log: Path | None = None,
) -> Verdict:
    """Run pytest on the suites against a lab: see `run_at`."""
    place = Place.of_lab(state.name, provider)
    return run_at(place, mode=mode, args=args, folder=folder, part=part, timeout=timeout, log=log)


def run_at(
    place: Place,
    *,
    mode: str,
    args: Sequence[str],
    folder: Path,
    part: str = "",
    timeout: float = 3600,
    log: Path | None = None,
) -> Verdict:
    """Run pytest on the suites.

    Args:
        place: where, and against which cluster.
        mode: the proxy mode in effect, for the name of the result.
        args: pytest's own arguments.
        folder: where `junit-MODE.xml` goes, and `results.jsonl` grows.
        part: which part of the suites it is, for the name of the result, where they run in several.
        timeout: seconds until pytest is ended.
        log: a file for what pytest says, instead of this process's own output.

    Raises:
        InputError: pytest did not understand the arguments, or nothing matched them.
        WaitTimeout: `timeout` seconds passed.
        LabError: pytest itself broke.
        KeyboardInterrupt: Ctrl-C; the tests put back what they had changed.
    """
    junit = folder / f"junit-{of_part(mode, part)}.xml"
    suites = paths.share("tests", "conformance")
    # xunit1: the family of JUnit XML that has properties for each test.
    reports = [f"--junitxml={junit}", "--override-ini=junit_family=xunit1"]
    stream = [f"--results={folder / results.FILE}", f"--results-mode={mode}"]
    pytest = _pytest(place, args, *reports, "-p", "lab.report.plugin", *stream)
    begun = time.monotonic()
    try:
        with log.open("wb") if log else contextlib.nullcontext() as said:
            process = subprocess.Popen(
                # Jobs in the background have SIGINT ignored, and so would pytest, which is ended by it.
                shell.tethered(place.operator, ["env", "--default-signal=INT", *pytest]),
                stdout=said,
                stderr=subprocess.STDOUT if said else None,
                env={**os.environ, **leftovers.mark(folder)},
                start_new_session=True,
                cwd=suites.parent.parent,
            )
        code = process.wait(timeout)
    except subprocess.TimeoutExpired as late:
        _end(folder)
        raise WaitTimeout(
            f"The suites did not end within {timeout:g} s.", details=[f"results: {folder}"]
        ) from late
    except KeyboardInterrupt:
        _end(folder)
        raise
    leftovers.end(folder)
    if code == INTERRUPTED:
        raise KeyboardInterrupt
    if code in (USAGE, NOTHING):
        raise InputError("No test was run: pytest did not understand the arguments, or none matches them.")
    if code not in (PASSED, FAILED) or not junit.is_file():
        raise LabError(f"pytest broke: exit code {code}.", details=[shlex.join(pytest)])
    return read(junit, mode=mode, seconds=time.monotonic() - begun)


def run_or_tell(
    config: Config,
    state: LabState,
    provider: Provider,
    *,
    args: Sequence[str],
    folder: Path,
    part: str = "",
    timeout: float,
    progress: Progress,
    log: Path | None = None,
) -> Verdict:
    """`run` in the mode that is on and, where something failed, every node's evidence beside the results.

    At once: the next mode's rules would be on the nodes later.
    """
    mode = config.proxy.mode
    verdict = run(state, provider, mode=mode, args=args, folder=folder, part=part, timeout=timeout, log=log)
    if verdict.failed:
        with progress.step("Collecting evidence from every node"):
            into = folder / f"evidence-{of_part(mode, part)}"
            evidence.gather(config, state, provider, into)
        progress.note(f"evidence: {into}")
    return verdict


def check(name: str, args: Sequence[str]) -> None:
    """See that pytest understands the arguments and that something matches them, without any lab.

    Raises:
        InputError: it does not, or nothing matches; with what pytest says.
    """
    argv = _pytest(Place.of_lab(name), args, "--collect-only", "--quiet")
    said = shell.run(argv, timeout=120, check=False, cwd=paths.share("tests", "conformance").parent.parent)
    if not said.ok:
        raise InputError(
            "No test would be run: pytest does not understand the arguments, or none matches them.",
            details=shell.tail(said.stderr or said.stdout, 5),
        )


def parts(args: Sequence[str], *, disruptive: bool, name: str = "lab") -> list[Part]:
    """What is run in one mode, one after the other.

    What disturbs the whole cluster comes last, by itself, one test at a time.
    """
    found = [("", [*args])]
    if disruptive:
        alone = [*args, "-m", "disruptive", "--numprocesses=0"]
        # Where no disruptive test is among those asked for there is nothing more to run.
        with contextlib.suppress(InputError):
            check(name, alone)
            found.append(("disruptive", alone))
    return found


def of_part(mode: str, part: str) -> str:
    """A mode and a part of the suites as files are named for them: `ipvs`, `ipvs-disruptive`."""
    return f"{mode}-{part}" if part else mode


def proofs(args: Sequence[str] = ("-m", EVERYTHING)) -> dict[str, tuple[str, ...]]:
    """Every test that these arguments choose, without its parameters, to the ids of what it proves.

    Raises:
        LabError: pytest cannot collect the suites; with what it says.
    """
    suites = paths.share("tests", "conformance")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, results.FILE)
        options = [
            "--collect-only",
            "--quiet",
            "-p",
            "lab.report.plugin",
            f"--results={file}",
        ]
        argv = _pytest(Place.of_lab("lab"), args, *options)
        said = shell.run(argv, timeout=120, check=False, cwd=suites.parent.parent)
        if not said.ok:
            raise LabError(
                "The suites cannot be collected.", details=shell.tail(said.stderr or said.stdout, 5)
            )
        lines = [json.loads(line) for line in file.read_text().splitlines()]
    (collected,) = [line["proved"] for line in lines if line["event"] == "collected"]
    return {test.rpartition("/")[2]: tuple(ids) for test, ids in collected.items()}


def _pytest(place: Place, args: Sequence[str], *options: str) -> list[str]:
    """The command that runs the suites; tests named by the user replace the whole."""
    suites = paths.share("tests", "conformance")
    words = [_located(arg, suites) for arg in args]
    named = [word for word in words if Path(word.partition("::")[0]).is_file()]
    whole = [] if named else [str(suites)]
    # Of several workers (-n) one gets all of a file: its tests share what its fixtures make, pods above all.
    # And in the order in which they are collected, which the suites see to.
    whole_files = ("--dist=loadfile", "--no-loadscope-reorder")
    # Hypothesis, where it is there, is for the unit tests: its plugin takes a second to load, in each worker.
    loaded = ("-p", "no:hypothesispytest")
    return [sys.executable, "-m", "pytest", *place.cluster, *loaded, *whole_files, *options, *words, *whole]


def read(junit: Path, *, mode: str, seconds: float) -> Verdict:
    """The verdict in a JUnit XML file."""
    total = failed = skipped = 0
    for suite in ET.parse(junit).getroot().iter("testsuite"):
        total += int(suite.get("tests", 0))
        failed += int(suite.get("failures", 0)) + int(suite.get("errors", 0))
        skipped += int(suite.get("skipped", 0))
    return Verdict(mode, total - failed - skipped, failed, skipped, seconds, junit)


def _located(arg: str, suites: Path) -> str:
    """An argument that names a test file, with that file's whole path; any other as it is."""
    file, colons, test = arg.partition("::")
    for folder in (suites, Path.cwd()):
        if file.endswith(".py") and (folder / file).is_file():
            return f"{folder / file}{colons}{test}"
    return arg


def _end(folder: Path) -> None:
    """Interrupt pytest as Ctrl-C does, give its fixtures time, then end what is left."""
    told: set[int] = set()
    deadline = time.monotonic() + GRACE
    while time.monotonic() < deadline and (running := leftovers.find(folder)):
        # Each time anew: Ctrl-C may have come while pytest was about to begin.
        for pid in {*running} - told:
            # pytest alone: its children end with what it does about them.
            with contextlib.suppress(OSError):
                argv = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
                if argv[:3] == [sys.executable.encode(), b"-m", b"pytest"]:
                    os.kill(pid, signal.SIGINT)
                    told.add(pid)
        time.sleep(0.1)
    leftovers.end(folder)
