"""A student's shell: commands typed into it one after another, each bounded in time."""

from __future__ import annotations

import os
import secrets
import select
import subprocess
import sys
import time
from pathlib import Path
from typing import Self

from lab import shell
from lab.errors import WaitTimeout

NAME_VARIABLE = "KUBE_SERVICE_LAB_NAME"


class Session:
    """A bash whose variables last, in which `lab` is this very program and means one lab.

    Args:
        name: the lab.
        folder: where the shell is.
    """

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.folder = folder
        self._mark = f"end-{secrets.token_hex(8)}"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        own = str(Path(sys.executable).parent)
        env = {
            **os.environ,
            NAME_VARIABLE: self.name,
            "PATH": os.pathsep.join([own, os.environ.get("PATH", os.defpath)]),
            "NO_COLOR": "1",
            "TERM": "dumb",
        }
        self._process = subprocess.Popen(
            ["bash", "--noprofile", "--norc"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=env,
            cwd=self.folder,
            start_new_session=True,
        )
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            shell.end_group(self._process, grace=2)

    def run(self, command: str, *, timeout: float) -> tuple[str, int]:
        """What a command printed, errors included, and its exit code.

        Raises:
            WaitTimeout: it did not end in time; the shell is gone with it.
        """
        process = self._process
        assert process is not None, "a session is used as a context"
        assert process.stdin is not None
        assert process.stdout is not None
        typed = f"{{ {command}\n}} </dev/null 2>&1; printf '\\n%s %d\\n' {self._mark} $?\n"
        process.stdin.write(typed.encode())
        process.stdin.flush()
        deadline, said = time.monotonic() + timeout, b""
        mark = f"\n{self._mark} ".encode()
        while mark not in said or not said.endswith(b"\n"):
            left = deadline - time.monotonic()
            ready = left > 0 and select.select([process.stdout], [], [], left)[0]
            chunk = os.read(process.stdout.fileno(), 1 << 16) if ready else b""
            if not chunk:
                shell.end_group(process, grace=2)
                raise WaitTimeout(
                    f"A command did not end within {timeout:g} s."
                    if not ready
                    else "The shell ended with the command.",
                    details=[command, *shell.tail(said.decode(errors="replace"))],
                )
            said += chunk
        output, _, code = said.rpartition(mark)
        return output.decode(errors="replace"), int(code)
