"""From the events of `results.jsonl` to the report."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, cast

from lab.errors import InputError
from lab.report import model
from lab.report.results import Event

WORST = ("failed", "unfinished", "skipped", "passed")
FACTS = ("suite", "cluster", "arguments")


def report(events: Sequence[Event]) -> model.Report:
    """Everything that the events of one run say.

    Raises:
        InputError: a line lacks what it must have.
    """
    try:
        run = events[0]
        parts = list(_sessions(events))
        results = [result for part in parts for result in part.results()]
        return model.Report(
            **{name: run[name] for name in FACTS},
            begun=run["at"],
            seconds=_seconds(run, events[-1]),
            complete=bool(parts) and events[-1]["event"] == "done" and all(part.complete for part in parts),
            sessions=tuple(part.told() for part in parts),
            results=tuple(results),
            truth=tuple(reach for part in parts for reach in part.truth()),
            distributions=tuple(
                model.Distribution(mode=part.mode, **event["distribution"])
                for part in parts
                for event in part.last("distribution")
            ),
        )
    except (LookupError, TypeError, ValueError) as error:
        raise InputError(
            "These are no results of lab test.", details=[f"{type(error).__name__}: {error}"]
        ) from error


class _Session:
    """The events of one run of the suites in one mode."""

    def __init__(self, events: list[Event], cluster: Mapping[str, Any]) -> None:
        self.events, self.lab = events, cluster["name"]
        self.kubeconfig: str = cluster.get("kubeconfig", "")
        self.first = events[0]
        self.mode: str = self.first["mode"]
        self.complete = events[-1]["event"] == "end" and events[-1]["exit"] in (0, 1)
        self.tests: dict[str, list[Event]] = {}
        for event in events:
            if "test" in event:
                self.tests.setdefault(event["test"], []).append(event)

    def told(self) -> model.Session:
        """The session as a whole."""
        counts = Counter(_outcome(events) for events in self.tests.values())
        asked = next(
            (event["tests"] for event in self.events if event["event"] == "collected"), len(self.tests)
        )
        return model.Session(
            mode=self.mode,
            begun=self.first["at"],
            seconds=_seconds(self.first, self.events[-1]),
            complete=self.complete,
            tests=asked,
            passed=counts["passed"],
            failed=counts["failed"],
            skipped=counts["skipped"],
            unfinished=counts["unfinished"],
            not_run=max(0, asked - len(self.tests)),
            seed=self.first["seed"],
            connections=self.first["connections"],
        )

    def results(self) -> Iterable[model.Result]:
        """Each test in the order they were begun."""
        for test, events in self.tests.items():
            phases = [event for event in events if event["event"] == "phase"]
            about: dict[str, Any] = {}
            for event in phases:
                about |= event
            seconds: Counter[str] = Counter()
            for event in phases:
                if "subtest" not in event:  # its time is part of the test's own
                    seconds[event["phase"]] += event["seconds"]
            wrong = [event for event in phases if event["outcome"] == "failed"]
            # A test with subtests that failed fails itself, and has nothing to say but how many.
            wrong = [event for event in wrong if "subtest" in event] or wrong
            name = name_of(test, about.get("node", "all"))
            yield model.Result(
                name=name,
                behaviours=tuple(about.get("behaviours", ())) or (name,),
                title=about.get("title", ""),
                test=test,
                node=about.get("node", "all"),
                mode=self.mode,
                outcome=cast("model.Outcome", _outcome(events)),
                attempts=max(1, sum(event["event"] == "start" for event in events)),
                seconds=round(sum(seconds.values()), 3),
                phases=dict(seconds),
                message=next((_line(event["message"]) for event in phases if event.get("message")), ""),
                failures=tuple(self._failure(test, event) for event in wrong),
            )

    def truth(self) -> Iterable[model.Reach]:
        """The cells of the truth table."""
        for event in self.last("target"):
            yield model.Reach(
                client=event["node"],
                target=event["target"],
                mode=self.mode,
                expected=event["expected"],
                seen=event.get("seen", ""),
                outcome=cast("model.Outcome", _outcome(self.tests[event["test"]])),
                declared=event.get("declared", ""),
                source=event.get("source", ""),
            )

    def last(self, what: str) -> list[Event]:
        """Of each test that recorded this, the last line that has it."""
        found = {event["test"]: event for event in self.events if what in event and event["event"] == "phase"}
        return list(found.values())

    def _failure(self, test: str, event: Event) -> model.Failure:
        asked: Sequence[str] = event.get("asked", ())
        name = [] if self.lab == "lab" else ["--name", self.lab]
        if self.kubeconfig:
            name = ["--kubeconfig", self.kubeconfig]
        again = shlex.join(["lab", "test", *name, "test_" + test.rpartition("/test_")[2]])
        in_mode = shlex.join(["lab", "proxy-mode", *name, self.mode]) + " && "
        return model.Failure(
            phase=event["phase"] + (f" ({event['subtest']})" if "subtest" in event else ""),
            expected=event.get("wanted", ""),
            seen=event.get("instead", "") or event.get("message", ""),
            where=_short(event.get("where", "")),
            # There is no `lab exec` into the pods that stood for a stranger's nodes: they are gone.
            see=shlex.join(["lab", asked[0], *name, *asked[1:]]) if asked and not self.kubeconfig else "",
            again=in_mode + again if self.mode and not self.kubeconfig else again,
            message=event.get("message", ""),
            traceback=event.get("traceback", ""),
            rules=dict(event.get("sections", ())),
        )


def _sessions(events: Sequence[Event]) -> Iterable[_Session]:
    found: list[list[Event]] = []
    for event in events[1:]:
        if event["event"] == "session":
            found.append([])
        elif event["event"] == "done":
            continue
        found[-1].append(event)
    return [_Session(part, events[0]["cluster"]) for part in found]


def _outcome(events: Sequence[Event]) -> str:
    """The worst of the phases of a test's last run; one that has not been torn down is unfinished."""
    begun = max((place for place, event in enumerate(events) if event["event"] == "start"), default=0)
    phases = [event for event in events[begun:] if event["event"] == "phase"]
    found = {event["outcome"] for event in phases}
    if not any(event["phase"] == "teardown" for event in phases):
        found.add("unfinished")
    return next(outcome for outcome in WORST if outcome in found)


def name_of(test: str, node: str) -> str:
    """The suite and name of a test, without the place.

    >>> name_of("tests/conformance/test_clusterip.py::test_answers[node01]", "node01")
    'clusterip/answers'
    >>> name_of("test_distribution.py::test_traffic_is_even[NodePort-node01]", "node01")
    'distribution/traffic is even[NodePort]'
    """
    file, _, name = test.partition("::")
    suite = file.rpartition("/")[2].removesuffix(".py").removeprefix("test_")
    name, bracket, rest = name.rpartition("::")[2].removeprefix("test_").partition("[")
    kept = re.sub(rf"(^|-){re.escape(node)}(-|$)", "", rest.removesuffix("]")) if bracket else ""
    return f"{suite}/{name.replace('_', ' ')}" + (f"[{kept}]" if kept else "")


def _seconds(first: Event, last: Event) -> float:
    return round(
        (datetime.fromisoformat(last["at"]) - datetime.fromisoformat(first["at"])).total_seconds(), 3
    )


def _line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[0][:300] if lines else ""


def _short(where: str) -> str:
    """A place in the suites without the folder that they are in."""
    return re.sub(r"^.*/(?=tests/conformance/)", "", where)
