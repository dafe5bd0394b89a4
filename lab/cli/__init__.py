"""The `lab` command. One verb a file; this is the only place that catches an error."""

from __future__ import annotations

import importlib.util
import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType

import typer

from lab import host
from lab.errors import Exit, LabError
from lab.progress import Progress

# typer carries a click of its own in newer releases: its errors are found through those it exports.
ClickError: type[Exception] = typer.BadParameter.mro()[2]
HELP = "A real three-node kubeadm cluster, and proof on every node that a Service does what it promises."


def application() -> typer.Typer:
    """The command with all its verbs."""
    from lab.cli import (  # noqa: PLC0415 -- each brings what it needs
        config,
        doctor,
        down,
        evidence,
        exec,  # noqa: A004 -- the verb's name
        explain,
        kubeconfig,
        kubectl,
        lesson,
        list_labs,
        migrate_check,
        nightly,
        proxy_mode,
        report,
        shell,
        status,
        test,
        up,
        verify,
        version,
        workshop,
    )

    app = typer.Typer(
        help=HELP,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )
    app.callback()(version.options)
    # Whatever stands after these verbs' own options is another program's.
    theirs = {"allow_extra_args": True, "ignore_unknown_options": True}
    app.command("doctor")(doctor.command)
    app.command("up")(up.command)
    app.command("down")(down.command)
    app.command("status")(status.command)
    app.command("list")(list_labs.command)
    app.command("shell")(shell.command)
    app.command("exec", context_settings={**theirs, "allow_interspersed_args": False})(exec.command)
    app.command("kubectl", context_settings={**theirs, "allow_interspersed_args": False})(kubectl.command)
    app.command("kubeconfig")(kubeconfig.command)
    app.command("proxy-mode")(proxy_mode.command)
    app.command("migrate-check", context_settings=theirs)(migrate_check.command)
    app.command("test", context_settings=theirs)(test.command)
    app.command("nightly", context_settings=theirs)(nightly.command)
    app.command("verify")(verify.command)
    app.command("explain")(explain.command)
    app.command("report")(report.command)
    app.command("evidence")(evidence.command)
    if importlib.util.find_spec("lab.cli.bundle"):
        bundle = importlib.import_module("lab.cli.bundle")
        app.add_typer(bundle.app, name="bundle", help="What the lab is made of, built from package mirrors.")
        box = importlib.import_module("lab.cli.box")
        app.add_typer(box.app, name="box", help="The box that virtual machines can be made of.")
    app.add_typer(workshop.app, name="workshop", help="Labs for a class: one a student, side by side.")
    app.add_typer(
        lesson.app, name="lesson", help="The course: a Service, from its ClusterIP to the rules on a node."
    )
    app.add_typer(config.app, name="config", help="The configuration file.")
    return app


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command and end the process with its exit code."""
    sys.exit(run(sys.argv[1:] if argv is None else argv))


def run(argv: Sequence[str]) -> int:
    """Run the command; returns its exit code (`lab.errors.Exit`, or that of the program it ran)."""
    host.complete_path()
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        code = application()(args=list(argv), prog_name="lab", standalone_mode=False)
    except LabError as error:
        Progress().error(str(error))
        return int(error.code)
    except (KeyboardInterrupt, typer.Abort):
        Progress().error("interrupted")
        return int(Exit.INTERRUPTED)
    except typer.Exit as ended:
        return int(ended.exit_code)
    except ClickError as error:
        error.show()  # type: ignore[attr-defined]
        return int(Exit.BAD_INPUT)
    except BrokenPipeError:
        # Whoever read the output has gone; nothing more can be told, not even at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return int(Exit.DONE)
    if code == Exit.INTERRUPTED:  # how newer releases of typer hand Ctrl-C on
        Progress().error("interrupted")
    return code if isinstance(code, int) else int(Exit.DONE)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    """SIGTERM is taken as Ctrl-C is."""
    raise KeyboardInterrupt
