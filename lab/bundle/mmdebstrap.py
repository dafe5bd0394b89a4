"""Debian roots by mmdebstrap: as root or as an ordinary user, always as a tar file."""

from __future__ import annotations

import getpass
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from lab.bundle import apt, host_tools
from lab.bundle.kinds.base import Work
from lab.bundle.runner import said

SUBIDS = (Path("/etc/subuid"), Path("/etc/subgid"))


def tools() -> tuple[str, ...]:
    """What the host must have so that this user can make a root."""
    always = ("apt", "dpkg", "mmdebstrap", "debian-archive-keyring")
    if os.geteuid() == 0:
        return always
    if unshare_works():
        return always if host_tools.which("newuidmap") else (*always, "uidmap")
    return (*always, "fakechroot", "fakeroot")


def unshare_works() -> bool:
    """Whether mmdebstrap may use a user namespace: the kernel lets it, and this user has a range of ids."""
    user = getpass.getuser()
    ranges = all(_has_range(path, user) for path in SUBIDS)
    return ranges and bool(said(["unshare", "--user", "--map-root-user", "echo", "yes"]))


def root(
    work: Work,
    target: Path,
    *,
    variant: str,
    suite: str,
    packages: Sequence[str],
    exclude: Iterable[str] = (),
    hooks: Iterable[str] = (),
) -> None:
    """Make a Debian root as a tar file, suite with its updates and security updates.

    Args:
        work: the build it is part of.
        target: the tar file.
        variant: mmdebstrap's: `essential` is a small working system, `extract` only unpacks `packages`.
        suite: a stable suite's code name.
        packages: what to install, with what they depend on.
        exclude: paths (globs) that dpkg leaves out.
        hooks: mmdebstrap customize hooks, run in order when all is installed.
    """
    # Without root or a user namespace mmdebstrap packs with the root's own tar, which one may lack.
    folder = work.scratch / "unpacked"
    pack = variant == "extract" and os.geteuid() != 0 and not unshare_works()
    argv: list[str | Path] = [
        "mmdebstrap",
        "--mode=auto",
        f"--variant={variant}",
        "--architectures=amd64",
        f"--format={'directory' if pack else 'tar'}",
        f"--include={','.join(packages)}",
        # dpkg's care for its own crash is not needed in a tree that is thrown away then.
        "--dpkgopt=force-unsafe-io",
        *(f"--dpkgopt=path-exclude={path}" for path in exclude),
        '--aptopt=Acquire::Languages "none"',
        '--aptopt=Acquire::Retries "3"',
        *(f"--aptopt={option}" for option in apt.host_options()),
        *(f"--customize-hook={hook}" for hook in hooks),
        suite,
        folder if pack else "-",
        *apt.lines([suite, f"{suite}-updates", f"{suite}-security"]),
    ]
    # As root the temporary root goes where a later run finds and removes it; in a user namespace it must be
    # where another id may go, and a home folder is not.
    env = {"TMPDIR": str(work.scratch)} if os.geteuid() == 0 else {}
    path = os.pathsep.join([os.environ.get("PATH", ""), *host_tools.SBIN])
    work.run(argv, env={**env, "PATH": path}, output=None if pack else target, timeout=1800)
    if pack:  # nothing is configured in it, so all of it is root's
        work.run(["tar", "-C", folder, "--owner=root:0", "--group=root:0", "-cf", target, "."])


def _has_range(path: Path, user: str) -> bool:
    try:
        return any(line.split(":")[0] in {user, str(os.getuid())} for line in path.read_text().splitlines())
    except OSError:
        return False
