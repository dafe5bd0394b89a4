"""`lab bundle build|verify|list|prune`: what a lab is made of, built from package mirrors."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from lab import host, sources
from lab.bundle.builder import Builder
from lab.bundle.prune import current, stale
from lab.bundle.store import Artifact
from lab.cli import options
from lab.config import Config, load
from lab.errors import BringUpError, InputError
from lab.progress import duration, result, result_json, result_table
from lab.sources import built
from lab.versions import known

app = typer.Typer(no_args_is_help=True)
Names = Annotated[
    list[str] | None, typer.Argument(metavar="[COMPONENT]...", help="Default: all that a lab uses.")
]


@app.command("build")
def build(
    components: Names = None,
    *,
    config_file: options.ConfigFile = None,
    provider: options.ProviderOption = None,
    install_missing: options.InstallTools = False,
    output: options.OutputOption = options.Output.TEXT,
    verbose: options.Verbose = False,
    quiet: options.Quiet = False,
) -> None:
    """Build what is missing, and nothing else; safe to interrupt and to run again."""
    config = load(options.path_of(config_file), {"provider": provider})
    builder = _builder(config)
    names = components or sources.get(config.source).components(config)
    progress = options.progress_of(verbose=verbose, quiet=quiet)
    if install_missing and (missing := builder.missing_tools(names)):
        host.install(missing, progress)
    builder.ensure(names, progress)
    _show([builder.built(name) for name in names], output)


@app.command("verify")
def verify(components: Names = None, *, output: options.OutputOption = options.Output.TEXT) -> None:
    """Read everything in the store again and compare it with its sha256; exit code 3 if anything differs."""
    store = _builder(Config()).store
    found = store.all()
    if components:
        found = [artifact for artifact in found if artifact.name in components]
        if unknown := set(components) - {artifact.name for artifact in found}:
            raise InputError(f"Not in the store: {', '.join(sorted(unknown))}.", fix="lab bundle list")
    faults = {artifact.folder.name: store.verify(artifact) for artifact in found}
    if output is options.Output.JSON:
        result_json(faults)
    wrong = [fault for lines in faults.values() for fault in lines]
    if wrong:
        raise BringUpError(
            "The store is damaged.",
            details=wrong,
            fix="remove the folders named above, then lab bundle build",
        )
    if output is options.Output.TEXT:
        files = sum(len(artifact.manifest["files"]) for artifact in found)
        result(f"{len(found)} artifacts, {files} files: all as they were built.")


@app.command("list")
def list_artifacts(*, output: options.OutputOption = options.Output.TEXT) -> None:
    """List what is in the store, with the sha256 of every file in the JSON output."""
    _show(_builder(Config()).store.all(), output)


@app.command("prune")
def prune(
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    output: options.OutputOption = options.Output.TEXT,
) -> None:
    """Remove what earlier recipes have built, and no lab of this user's and no running machine uses.

    What the recipes of this version give for any Kubernetes release stays.
    """
    store = _builder(Config()).store
    old = stale(store, _builders())
    sizes = {artifact.folder: artifact.size for artifact in old}
    if not dry_run:
        for artifact in old:
            store.remove(artifact)
    if output is options.Output.JSON:
        result_json([{"folder": str(folder), "bytes": size} for folder, size in sizes.items()])
        return
    for artifact in old:
        result(f"{artifact.folder.name}  {sizes[artifact.folder] >> 20} MiB")
    verb = "would be freed" if dry_run else "freed"
    result(
        f"{len(old)} artifacts, {sum(sizes.values()) >> 20} MiB {verb}." if old else "Nothing is left over."
    )


def _builder(config: Config) -> Builder:
    return built.builder(config.kubernetes.version)


def _builders() -> list[Builder]:
    return [built.builder(release) for release in known()]


def _show(artifacts: list[Artifact], output: options.Output) -> None:
    builders = _builders()
    if output is options.Output.JSON:
        result_json([_facts(artifact, builders) for artifact in artifacts])
        return
    rows = [
        [
            artifact.name,
            artifact.version,
            artifact.digest[:16],
            f"{artifact.size >> 20} MiB",
            duration(float(artifact.manifest["seconds"])),
            "yes" if current(artifact, builders) else "no",
            str(artifact.folder),
        ]
        for artifact in artifacts
    ]
    result_table(["component", "version", "digest", "size", "built in", "current", "folder"], rows)


def _facts(artifact: Artifact, builders: list[Builder]) -> dict[str, Any]:
    return {
        **artifact.manifest,
        "folder": str(artifact.folder),
        "bytes": artifact.size,
        "current": current(artifact, builders),
    }
