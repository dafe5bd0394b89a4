"""`lab list`: every lab of this user."""

from __future__ import annotations

from typing import Any

from lab import providers
from lab.cli import options
from lab.errors import LabError
from lab.progress import result_json, result_table
from lab.state import LabState


def command(*, output: options.OutputOption = options.Output.TEXT) -> None:
    """List every lab of this user, half-made ones included."""
    found = [look(state) for state in LabState.all()]
    if output is options.Output.JSON:
        result_json(found)
        return
    columns = ("name", "provider", "proxy_mode", "running", "nodes")
    result_table(
        columns,
        [[str(lab[column] if lab[column] is not None else "?") for column in columns] for lab in found],
    )


def look(state: LabState) -> dict[str, Any]:
    """What is known of a lab without asking its machines; None where its own notes do not say."""
    found: dict[str, Any] = {"name": state.name, "folder": str(state.dir)}
    found |= dict.fromkeys(("provider", "proxy_mode", "running", "nodes"))
    try:
        config = state.read_config()
        if config is not None:
            machines = providers.get(config, state).status()
            found |= {
                "provider": config.provider,
                "proxy_mode": config.proxy.mode,
                "nodes": len(config.nodes),
            }
            found["running"] = sum(status == "running" for status in machines.values())
    except LabError:
        pass  # `?`: `lab down` takes it away all the same
    return found
