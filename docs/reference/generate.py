"""Writes docs/reference/*.md, and the schema of report.json: `python docs/reference/generate.py`.

A unit test sees that they are up to date.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import typer
import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from typer.cli import get_docs_for_click

from lab import behaviours, suites
from lab.cli import application
from lab.config import Config
from lab.errors import Exit
from lab.report import folder
from lab.versions import known

HERE = Path(__file__).parent

CONFIG = """\
# Configuration: `lab.yaml`

<!-- Written by docs/reference/generate.py from lab/config.py; do not edit. -->

`lab up` reads `lab.yaml` in the current folder, or the file that `--config` names (`-` is standard input).
Flags beat the file, the file beats the defaults. Every key may be left out. All faults of a file are reported
at once, with exit code 2, before anything is touched. `lab config schema` prints the JSON schema for editors,
`lab config init` writes a file to start from.

{table}
## All defaults

```yaml
{defaults}```

A configuration is checked as a whole, too: the three networks must not overlap, every node's address must be
on the lab's LAN and be nobody else's, the pod network must have a /24 for each node, and the version must be
one that the source can give: {releases}.
"""

CLI = """\
{docs}
## Exit codes

| Code | Meaning |
|---|---|
{exits}

Progress goes to standard error, results to standard output.
"""

COVERAGE = """\
# What the suites prove

<!-- Written by docs/reference/generate.py from tests/conformance and its behaviours/*.yaml; do not edit. -->

Every behaviour, with upstream's own tests that verify it ([kubernetes/kubernetes, test/e2e/network][e2e]),
the paths that traffic takes (client → target), the tests that prove it here, and the fault that was made to
see them fail. {covered} behaviours are covered by {tests} tests, {conformance} of them ones that upstream
marks [Conformance]; {missing} are not covered, each with the reason. `lab test --list` prints the same.

Where the proxy modes differ on purpose, what is expected is looked up in
[declared.py](../../tests/conformance/declared.py); a difference that is not declared there fails.

[e2e]: https://github.com/kubernetes/kubernetes/tree/master/test/e2e/network

{parts}"""

COVERED_HEAD = """\
| Behaviour | Promise | Upstream | Paths | Where | Tests | Fault that fails it |
|---|---|---|---|---|---|---|"""

TITLES = {
    "dns": "DNS",
    "endpointslice": "EndpointSlice",
    "hostport": "HostPort",
    "ipvs": "ipvs",
    "kube-proxy": "kube-proxy",
    "loadbalancer": "LoadBalancer",
    "loadbalancer-l2": "LoadBalancer by layer 2 (MetalLB)",
}
"""Areas whose names are not words of their own."""

EXITS = {
    Exit.DONE: "done",
    Exit.TEST_FAILED: "a conformance test failed",
    Exit.BAD_INPUT: "bad input or configuration; nothing was touched",
    Exit.BRING_UP_FAILED: "the lab could not be brought up, switched or taken down",
    Exit.WAIT_TIMED_OUT: "a wait timed out",
    Exit.PREREQUISITE_MISSING: "a prerequisite is missing on this host; nothing was touched",
    Exit.INTERRUPTED: "interrupted",
}


def config() -> str:
    """docs/reference/config.md."""
    said = _said(Config().model_dump(mode="json"))
    defaults = yaml.safe_dump(said, sort_keys=False, default_flow_style=None)
    releases = ", ".join(f"`{release}`" for release in known())
    return CONFIG.format(table="\n".join(_sections(Config, "")) + "\n", defaults=defaults, releases=releases)


def _said(value: Any) -> Any:
    """Without the keys that have no value unless somebody gives them one."""
    if isinstance(value, dict):
        inner = {key: _said(item) for key, item in value.items() if item is not None}
        return {key: item for key, item in inner.items() if item != {}}
    return [_said(item) for item in value] if isinstance(value, list) else value


def cli() -> str:
    """docs/reference/cli.md."""
    command = typer.main.get_command(application())
    docs = get_docs_for_click(obj=command, ctx=typer.Context(command), name="lab", title="The command line")
    exits = "\n".join(f"| {int(code)} | {meaning} |" for code, meaning in EXITS.items())
    return CLI.format(docs=docs, exits=exits)


def coverage() -> str:
    """docs/reference/coverage.md."""
    known, proofs = behaviours.load(), suites.proofs()
    parts = []
    for area in dict.fromkeys(one.area for one in known.values()):
        mine = [one for one in known.values() if one.area == area]
        heading = TITLES.get(area) or area.replace("-", " ").capitalize()
        parts += [f"## {heading}", "", COVERED_HEAD]
        for one in mine:
            tests = [test for test, ids in proofs.items() if one.id in ids]
            parts.append("| " + " | ".join(_row(one, tests)) + " |")
        parts.append("")
    missing = [one for one in known.values() if not one.covered]
    totals = {
        "covered": sum(one.covered for one in known.values()),
        "conformance": sum(one.covered and one.conformance for one in known.values()),
        "missing": len(missing),
        "tests": len(proofs),
    }
    return COVERAGE.format(parts="\n".join(parts), **totals)


def _row(one: behaviours.Behaviour, tests: list[str]) -> list[str]:
    upstream = "<br>".join([*one.upstream, *(["[Conformance]"] if one.conformance else [])])
    if not one.covered:
        return [f"`{one.id}`", one.says, upstream, "", f"**not covered**: {one.not_covered}", "", ""]
    where = "" if set(one.modes) == set(behaviours.MODES) else f"{', '.join(one.modes)} only. "
    return [
        f"`{one.id}`",
        one.says,
        upstream,
        "<br>".join(one.paths),
        where + ("Disruptive." if one.disruptive else ""),
        "<br>".join(f"`{test}`" for test in tests),
        one.fault,
    ]


def _sections(model: type[BaseModel], path: str) -> Iterator[str]:
    """The model's own keys as a table, then one section for each model within it."""
    yield f"## `{path}`" if path else "## Top level"
    yield ""
    doc = (model.__doc__ or "").strip().splitlines()[0]
    yield doc
    yield ""
    fields = {name: field for name, field in model.model_fields.items() if _inner(field) is None}
    if fields:
        yield "| Key | Values | Default | |"
        yield "|---|---|---|---|"
        for name, field in fields.items():
            yield f"| `{name}` | {_values(field)} | {_default(field)} | {field.description or ''} |"
        yield ""
    for name, field in model.model_fields.items():
        inner = _inner(field)
        if inner is not None:
            many = "[]" if get_origin(field.annotation) is tuple else ""
            yield from _sections(inner, f"{path}.{name}{many}".lstrip("."))


def _inner(field: FieldInfo) -> type[BaseModel] | None:
    kinds = (field.annotation, *get_args(field.annotation))
    return next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), None)


def _values(field: FieldInfo) -> str:
    words = _type(field.annotation)
    for limit in field.metadata:
        for name, text in (("ge", "at least"), ("le", "at most"), ("max_length", "at most")):
            bound = getattr(limit, name, None)
            if bound is not None:
                words += f", {text} {bound}" + (" characters" if name == "max_length" else "")
    return words


def _type(kind: Any) -> str:
    origin = get_origin(kind)
    if origin is Annotated:
        return _type(get_args(kind)[0])
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in get_args(kind))
    if origin in (Union, UnionType):
        return " or ".join(_type(part) for part in get_args(kind) if part is not type(None))
    if origin is dict:
        return "map of " + " to ".join(_type(part) for part in get_args(kind))
    names = {
        str: "text",
        int: "whole number",
        bool: "`true`, `false`",
        Path: "path",
        "IPv4Address": "IPv4 address",
        "IPv4Network": "IPv4 network",
    }
    return names.get(kind, names.get(getattr(kind, "__name__", ""), str(kind)))


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    default = field.get_default(call_default_factory=False)
    return "" if default is None else f"`{default}`"


if __name__ == "__main__":
    for name, text in (("config", config()), ("cli", cli()), ("coverage", coverage())):
        (HERE / f"{name}.md").write_text(text)
    folder.SCHEMA.write_text(folder.schema())
