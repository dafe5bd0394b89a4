"""What is done with a workshop: up, status, reset, down. A lab that fails is told of, the others go on."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from lab import checks, host, providers, sources
from lab.bring_up import difference
from lab.config import Config
from lab.errors import BringUpError, InputError, LabError
from lab.progress import Progress
from lab.state import LabState, read_json, write_text
from lab.workshop import crew, handout
from lab.workshop.labs import Workshop


def find(name: str) -> Workshop:
    """The workshop of that name.

    Raises:
        InputError: there is none.
    """
    workshop = Workshop.load(name)
    if workshop is None:
        there = ", ".join(Workshop.all()) or "none"
        raise InputError(
            f"There is no workshop {name!r}.",
            details=[f"workshops: {there}"],
            fix="lab workshop up --students 4",
        )
    return workshop


def plan(name: str, students: tuple[str, ...], config: Config) -> Workshop:
    """The workshop that is asked for: the one on record with these students added, or a new one.

    Raises:
        InputError: the one on record has other settings.
    """
    there = Workshop.load(name)
    if there is None:
        return Workshop(name, students, config)
    if there.config != config:
        raise InputError(
            f"There is a workshop {name!r} already, with other settings.",
            details=difference(there.config.model_dump(mode="json"), config.model_dump(mode="json")),
            fix=f"lab workshop down --name {name}, or another --name",
        )
    return Workshop(name, tuple(dict.fromkeys([*there.students, *students])), config)


def up(workshop: Workshop, progress: Progress, *, parallel: int, install_missing: bool = False) -> None:
    """Raise the labs that are missing and mend those that are not whole.

    Raises:
        InputError: a port is asked for by number: it can lead into one lab only.
        PrerequisiteError: something is missing on this host, memory for all of them included.
        BringUpError: labs failed; the others are up.
    """
    refuse_fixed_ports(workshop.config)
    with progress.step("Checking the host"):
        check_the_host(workshop, progress, install_missing=install_missing)
    with progress.step("Building what is missing"):
        sources.get(workshop.config.source).ensure(workshop.config, progress)
    workshop.save()
    write_text(workshop.folder / "lab.json", workshop.config.model_dump_json(indent=2))
    each(workshop, progress, "up", workshop.students, parallel=parallel)


def reset(workshop: Workshop, student: str, progress: Progress) -> None:
    """Take one student's lab down, whatever state it is in, and raise it anew.

    Raises:
        BringUpError: it could not be.
    """
    write_text(workshop.folder / "lab.json", workshop.config.model_dump_json(indent=2))
    each(workshop, progress, "down", (student,), parallel=1)
    each(workshop, progress, "up", (student,), parallel=1)


def down(workshop: Workshop, progress: Progress) -> None:
    """Take every lab down; the record goes last, so that what failed can be tried again.

    Raises:
        BringUpError: labs could not be taken down; the others are gone.
    """
    each(workshop, progress, "down", workshop.students, parallel=crew.at_once() * 2)
    workshop.forget()


def each(
    workshop: Workshop, progress: Progress, verb: str, students: tuple[str, ...], *, parallel: int
) -> list[crew.Done]:
    """Run `lab up` or `lab down` on the labs of students, a few at a time, and write the handouts anew.

    Raises:
        BringUpError: with each student whose lab failed, and why.
    """
    jobs = []
    for student in students:
        state = workshop.lab(student)
        words = [verb, "--name", state.name]
        if verb == "up" and not state.config_file.exists():
            words += ["--config", str(workshop.folder / "lab.json")]
        jobs.append(crew.Job(student, tuple(words), workshop.log(student)))
    labs = "1 lab" if len(jobs) == 1 else f"{len(jobs)} labs, {min(parallel, len(jobs))} at a time"
    with progress.step(f"lab {verb}: {labs}"):
        done = crew.run(jobs, progress, parallel=parallel, cwd=workshop.folder)
    for one in done:
        if one.ok and verb == "up":
            handout.write(workshop, one.job.student)
    bad = [one for one in done if not one.ok]
    if bad:
        again = f"lab workshop {verb} --name {workshop.name} tries again"
        renew = f"; lab workshop reset --name {workshop.name} STUDENT starts one over" if verb == "up" else ""
        raise BringUpError(
            f"{len(bad)} of {len(done)} labs failed; the others are {verb}.",
            details=[f"{one.job.student}: {one.why}   ({one.job.log})" for one in bad],
            fix=again + renew,
        )
    return done


def refuse_fixed_ports(config: Config) -> None:
    """See that no port of 127.0.0.1 is asked for by number.

    Raises:
        InputError: with each that is.
    """
    wanted = {"forward.api": config.forward.api}
    wanted |= {f"forward.node_ports.{port}": here for port, here in config.forward.node_ports.items()}
    fixed = [f"{key}: {port}" for key, port in wanted.items() if port != "auto"]
    if fixed:
        raise InputError(
            "A port of 127.0.0.1 can lead into one lab only; nothing was touched.",
            details=fixed,
            fix="say auto: every lab gets ports of its own, and its handout says which",
        )


def check_the_host(workshop: Workshop, progress: Progress, *, install_missing: bool) -> None:
    """Everything that is missing or in the way for all the labs together, at once.

    Raises:
        PrerequisiteError: with all of it.
    """
    missing = [student for student in workshop.students if not _runs(workshop.lab(student))]
    if not missing:
        return
    first, source = workshop.lab(missing[0]), sources.get(workshop.config.source)
    config = workshop.config_of(missing[0])
    provider = providers.get(config, first)

    def look() -> list[checks.Check]:
        return checks.everything(config, first, provider, source, labs=len(missing))

    found = look()
    names = checks.missing_packages(found)
    if install_missing and names and host.can_install():
        host.install(names, progress)
        found = look()
    checks.require(found)


def status(workshop: Workshop) -> list[dict[str, Any]]:
    """What each student's lab is doing; what nobody answers is None, and `problem` says why."""
    with ThreadPoolExecutor(crew.at_once() * 2) as pool:
        return list(pool.map(lambda student: _look(workshop, student), workshop.students))


def _look(workshop: Workshop, student: str) -> dict[str, Any]:
    state = workshop.lab(student)
    found: dict[str, Any] = {"student": student, "lab": state.name}
    found |= dict.fromkeys(("machines", "ready", "proxy_mode", "memory", "problem"))
    page = workshop.handout(student)
    found |= {"ports": {}, "handout": str(page) if page.is_file() else None}
    try:
        config = state.read_config()
        if config is None:
            return found | {"problem": "not raised yet" if not state.exists() else "raised half-way"}
        provider = providers.get(config, state)
        running = list(provider.status().values()).count("running")
        found |= {"machines": f"{running}/{len(config.nodes)}", "proxy_mode": config.proxy.mode}
        found |= {"ports": read_json(state.ports_file) or {}, "memory": provider.memory_used()}
        if not state.finished_file.exists():
            return found | {"problem": "raised half-way"}
        from lab.cluster import Cluster  # noqa: PLC0415 -- brings the API's client, which takes a moment to load

        ready = sum(node.ready for node in Cluster(state).nodes().values()) if running else 0
        found["ready"] = f"{ready}/{len(config.nodes)}"
        if ready < len(config.nodes):
            found["problem"] = "not every node is Ready"
    except LabError as error:
        found["problem"] = error.what
    return found


def _runs(state: LabState) -> bool:
    try:
        config = state.read_config()
        return config is not None and "running" in providers.get(config, state).status().values()
    except LabError:
        return False
