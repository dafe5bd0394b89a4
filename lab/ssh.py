"""How every node is reached: one key and one ssh configuration a lab, connections kept open."""

from __future__ import annotations

import time
from collections.abc import Callable, Container, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from lab import shell
from lab.errors import BringUpError, WaitTimeout
from lab.host import Tool

TOOLS = (
    Tool("ssh", "openssh-client", "reaches the nodes"),
    Tool("ssh-keygen", "openssh-client", "makes the lab's key"),
)


def make_key(key: Path) -> str:
    """Make the lab's key if it has none yet.

    Returns:
        The public key, as a line of authorized_keys.
    """
    public = key.with_suffix(".pub")
    if not public.is_file():
        key.unlink(missing_ok=True)
        shell.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "kube-service-lab", "-f", key], timeout=20
        )
    return public.read_text().strip()


def write_config(
    file: Path, *, hosts: Mapping[str, str], key: Path, sockets: Path, connect_timeout: int = 5
) -> None:
    """Write an ssh configuration that reaches `hosts` (name to address) as root.

    The machines make their host keys at their first boot, on a LAN of their own, so these are not checked.
    A login costs a user-mode node half a second: one connection a node is kept open.
    """
    lines: list[str] = []
    for name, address in hosts.items():
        lines += [f"Host {name} {address}", f"  HostName {address}", f"  ControlPath {sockets}/{name}"]
    lines += [
        "Host *",
        "  User root",
        f"  IdentityFile {key}",
        "  IdentitiesOnly yes",
        "  BatchMode yes",
        f"  ConnectTimeout {connect_timeout}",
        "  ControlMaster auto",
        # It runs in the lab's own PID namespace and ends with it.
        "  ControlPersist yes",
        "  GSSAPIAuthentication no",
        "  LogLevel ERROR",
        "  ServerAliveInterval 10",
        "  ServerAliveCountMax 6",
        "  StrictHostKeyChecking no",
        "  UserKnownHostsFile /dev/null",
    ]
    file.write_text("\n".join(lines) + "\n")


#: What of the user's own ssh settings for a machine is taken over, by ssh_config(5)'s names in small letters.
TAKEN_OVER = (
    "bindaddress",
    "bindinterface",
    "certificatefile",
    "ciphers",
    "globalknownhostsfile",
    "hostkeyalgorithms",
    "hostkeyalias",
    "hostname",
    "identitiesonly",
    "identityagent",
    "identityfile",
    "kexalgorithms",
    "macs",
    "port",
    "proxycommand",
    "proxyjump",
    "pubkeyacceptedalgorithms",
    "stricthostkeychecking",
    "user",
    "userknownhostsfile",
)


def users_settings(host: str, options: Mapping[str, str]) -> list[tuple[str, str]]:
    """What the user's own ssh would do for a host (`ssh -G`), as pairs of ssh_config(5).

    Args:
        host: a name or address, as it is typed after `ssh`.
        options: what is said of it besides, which counts for more.
    """
    words = [word for key, value in options.items() for word in ("-o", f'{key}="{value}"')]
    said = shell.run(["ssh", "-G", *words, host], timeout=20).stdout
    pairs = [(key, value) for key, _, value in (line.partition(" ") for line in said.splitlines())]
    return [
        (key, f'"{value}"' if key in ("identityfile", "certificatefile") else value)
        for key, value in pairs
        if key in TAKEN_OVER and value != "none"
    ]


def write_users_config(
    file: Path, *, hosts: Mapping[str, tuple[str, Sequence[tuple[str, str]]]], sockets: Path | None
) -> None:
    """Write an ssh configuration that reaches machines as the user's own ssh reaches them.

    Args:
        file: the configuration.
        hosts: each by its name: its address, and its settings as `users_settings` gives them.
        sockets: where connections are kept open for the next command; None: none is.
    """
    lines: list[str] = []
    for name, (address, settings) in hosts.items():
        lines += [f"Host {name} {address}", *(f"  {key} {value}" for key, value in settings)]
        if sockets is not None:
            # Closed when the lab is taken down, and by themselves when nobody has needed them for a while.
            lines += [f"  ControlPath {sockets}/{name}", "  ControlMaster auto", "  ControlPersist 300"]
    lines += ["Host *", "  BatchMode yes", "  ConnectTimeout 10", "  LogLevel ERROR"]
    lines += ["  ServerAliveInterval 10", "  ServerAliveCountMax 6"]
    file.write_text("\n".join(lines) + "\n")


def argv(config: Path, host: str, *command: str) -> list[str]:
    """The argv that runs a command line on a host, from the operator's place."""
    return ["ssh", "-F", str(config), host, *command]


def wait(
    prefix: Sequence[str],
    config: Path,
    hosts: Sequence[str],
    *,
    timeout: float = 90,
    running: Callable[[], Container[str]] | None = None,
) -> None:
    """Wait until every host lets us in, all of them at once.

    Args:
        prefix: the argv that gets to the operator's place.
        config: the lab's ssh configuration.
        hosts: their names in it.
        timeout: seconds.
        running: the hosts whose machine lives; one that does not is waited for no longer.

    Raises:
        BringUpError: a machine ended while it was waited for.
        WaitTimeout: `timeout` seconds passed; names the hosts that did not answer and what they said last.
    """
    end = time.monotonic() + timeout

    def one(host: str) -> str | None:
        while True:
            said = shell.run([*prefix, *argv(config, host, "true")], timeout=30, check=False)
            if said.ok:
                return None
            if running is not None and host not in running():
                raise BringUpError(f"The machine of {host} ended while it was waited for.")
            if time.monotonic() > end:
                return said.stderr.strip() or f"exit {said.returncode}"
            time.sleep(0.1)

    with ThreadPoolExecutor(max(1, len(hosts))) as pool:
        missing = {host: why for host, why in zip(hosts, pool.map(one, hosts), strict=True) if why}
    if missing:
        raise WaitTimeout(
            f"{len(missing)} of {len(hosts)} machines did not let us in by ssh within {timeout:.0f} s",
            details=[f"{host}: {why}" for host, why in missing.items()],
            fix="lab evidence shows their consoles; lab down starts over",
        )
