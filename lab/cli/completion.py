"""What the shell offers for a value, at the press of a key: quickly, and without asking any machine."""

from __future__ import annotations

import typer

from lab.addons import AddonsConfig
from lab.config import PROXY_MODES, Config
from lab.errors import LabError
from lab.state import LabState


def labs(incomplete: str) -> list[str]:
    """The names of this user's labs."""
    return _that_begin([state.name for state in LabState.all()], incomplete)


def providers(incomplete: str) -> list[str]:
    """Where machines may come from."""
    from lab.providers import PROVIDERS  # noqa: PLC0415

    return _that_begin(list(PROVIDERS), incomplete)


def proxy_modes(incomplete: str) -> list[str]:
    """The three modes."""
    return _that_begin(list(PROXY_MODES), incomplete)


def addons(incomplete: str) -> list[str]:
    """What a lab may have besides Kubernetes."""
    return _that_begin(list(AddonsConfig.model_fields), incomplete)


def nodes(context: typer.Context, incomplete: str) -> list[str]:
    """The nodes of the lab that is meant."""
    return _that_begin(_nodes(context), incomplete)


def places(context: typer.Context, incomplete: str) -> list[str]:
    """The nodes, and the machine on the lab's LAN that is none."""
    return _that_begin([*_nodes(context), "outside"], incomplete)


def workshops(incomplete: str) -> list[str]:
    """The names of this user's workshops."""
    from lab.workshop.labs import Workshop  # noqa: PLC0415

    return _that_begin(Workshop.all(), incomplete)


def students(context: typer.Context, incomplete: str) -> list[str]:
    """Who is in the workshop that is meant."""
    from lab.workshop.labs import Workshop  # noqa: PLC0415

    try:
        workshop = Workshop.load(str(context.params.get("name") or "ws"))
    except LabError:
        return []
    return _that_begin(list(workshop.students) if workshop else [], incomplete)


def lessons(incomplete: str) -> list[tuple[str, str]]:
    """The numbers of the lessons, each with its title."""
    from lab.lessons import course  # noqa: PLC0415

    return [
        (str(one.number), one.title) for one in course.lessons() if str(one.number).startswith(incomplete)
    ]


def _nodes(context: typer.Context) -> list[str]:
    try:
        config = LabState(str(context.params.get("name") or Config().name)).read_config()
    except LabError:
        return []
    return [node.name for node in (config or Config()).nodes]


def _that_begin(words: list[str], incomplete: str) -> list[str]:
    return [word for word in words if word.startswith(incomplete)]
