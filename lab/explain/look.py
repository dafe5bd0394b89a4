"""Finds what is to be explained on a living cluster: the Service, the node, the client."""

from __future__ import annotations

from lab.errors import InputError
from lab.explain.clients import Origin, origin, usual
from lab.explain.explanation import Explanation, explain
from lab.proxy.endpoints import Object
from lab.reach.base import Reach, node_named
from lab.verify.view import Objects
from lab.verify.view import look as look_at

CONTROL_PLANE = "node-role.kubernetes.io/control-plane"


def look(
    reach: Reach,
    service: str,
    *,
    namespace: str = "default",
    node: str | None = None,
    client: str | None = None,
    port: str | None = None,
) -> Explanation:
    """Explain a Service of a living cluster; see `lab explain --help` for the arguments.

    Raises:
        InputError: there is no such Service, node, client or port.
        LabError: the API or the node does not answer.
    """
    space, _, short = service.rpartition("/")
    space = space or namespace
    objects = Objects.read(reach)
    found = _service(objects, space, short)
    if node is not None:
        node_named(node, objects.nodes)
    origins: list[Origin] = []
    if client is not None:
        pods = reach.items("/api/v1/pods") if client.startswith("pod") and client not in objects.nodes else ()
        origins = [origin(client, objects.nodes, pods, space)]
    chosen = node or next((one.node for one in origins if one.node), None) or _some(objects)
    view = look_at(reach, objects, only=[chosen])[chosen]
    return explain(
        found,
        objects.slices,
        mode=view.mode,
        outputs=view.outputs,
        node=view.node,
        clients=origins or usual(chosen, objects.nodes[chosen]),
        port=port,
    )


def _service(objects: Objects, namespace: str, name: str) -> Object:
    there = [one for one in objects.services if one["metadata"]["namespace"] == namespace]
    for one in there:
        if one["metadata"]["name"] == name:
            return one
    names = ", ".join(sorted(one["metadata"]["name"] for one in there)) or "none"
    elsewhere = [one["metadata"]["namespace"] for one in objects.services if one["metadata"]["name"] == name]
    fix = f"lab explain {elsewhere[0]}/{name}" if elsewhere else "lab kubectl -- get services -A"
    raise InputError(
        f"There is no Service {namespace}/{name}.", details=[f"Services of {namespace}: {names}"], fix=fix
    )


def _some(objects: Objects) -> str:
    """A node that pods run on, the first by name."""
    workers = [
        name
        for name, node in objects.nodes.items()
        if CONTROL_PLANE not in (node["metadata"].get("labels") or {})
    ]
    return min(workers or objects.nodes)
