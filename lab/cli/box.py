"""`lab box build`: a Vagrant box for libvirt, of the same root and artifacts as every other node."""

from __future__ import annotations

import shutil

import typer

from lab import host, vagrant_box
from lab.cli import options
from lab.config import load
from lab.progress import result, result_json
from lab.sources import built

app = typer.Typer(no_args_is_help=True)


@app.callback()
def group() -> None:
    """The box that virtual machines can be made of."""


@app.command("build")
def build(
    *,
    config_file: options.ConfigFile = None,
    install_missing: options.InstallTools = False,
    output: options.OutputOption = options.Output.TEXT,
    verbose: options.Verbose = False,
    quiet: options.Quiet = False,
) -> None:
    """Build the box if it is not there, and give it to Vagrant if that is installed.

    Everything of a node is in it, container images unpacked: `lab up` has nothing to copy or download then.
    """
    config = load(options.path_of(config_file))
    version = config.kubernetes.version
    component, file = vagrant_box.PART
    builder = built.builder(version)
    progress = options.progress_of(verbose=verbose, quiet=quiet)
    if install_missing and (missing := builder.missing_tools([component])):
        host.install(missing, progress)
    builder.ensure([component], progress)
    box = builder.built(component).folder / file
    there = shutil.which("vagrant") is not None
    if there:
        with progress.step("Giving it to Vagrant"):
            vagrant_box.add(box, version)
    if output is options.Output.JSON:
        known = {"name": vagrant_box.NAME, "version": vagrant_box.version(box, version), "added": there}
        result_json({**known, "file": str(box)})
        return
    result(f"{box}   ({vagrant_box.NAME} {vagrant_box.version(box, version)}, for libvirt)")
    result("\nTo use it, in lab.yaml:\n  provider: vagrant\n  vagrant: {box: " + vagrant_box.NAME + "}")
    if not there:
        result("Vagrant is not installed here; lab up --provider vagrant adds the box where it is.")
