"""`lab evidence`: everything someone who asks why needs, in one archive."""

from __future__ import annotations

from lab import evidence
from lab.cli import options
from lab.progress import result


def command(*, name: options.Name = None, verbose: options.Verbose = False) -> None:
    """Collect consoles, logs, rules and the cluster's state in one archive, and print where it is."""
    lab = options.living(name)
    progress = options.progress_of(verbose=verbose)
    into = lab.state.new_run("evidence")
    with progress.step("Collecting evidence from every node"):
        archive = evidence.gather(lab.config, lab.state, lab.provider, into)
    result(str(archive))
