"""Everything that must be right on this host before a lab is touched, found all at once."""

from __future__ import annotations

import contextlib
import shutil
import socket
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from lab import host, paths, providers
from lab.config import Config
from lab.errors import InputError, LabError, PrerequisiteError
from lab.host import Tool
from lab.providers.base import Provider
from lab.sources.base import Source
from lab.state import LabState

DISK_FOR_A_LAB = 2048  # MiB: three nodes' copy-on-write disks and the runs' artifacts
TOOLS = (
    Tool("ssh", "openssh-client", "reaches the nodes"),
    Tool("setpriv", "util-linux", "ends Ansible when the command that started it is killed"),
)


@dataclass(frozen=True)
class Check:
    """One thing looked at on the host; `needed` is False for what only some labs want."""

    name: str
    ok: bool
    found: str
    needed: bool = True
    package: str | None = None


def tools(config: Config, provider: Provider, source: Source) -> list[Check]:
    """Every command that this lab needs, and where it was found."""
    checks = []
    for tool in dict.fromkeys((*TOOLS, *provider.tools, *provider.further_tools())):
        where = tool.found()
        found = where or f"missing (package {tool.package}): it {tool.why}"
        checks.append(Check(tool.command, where is not None, found, package=tool.package))
    for package in _packages(source, config):
        found = f"missing (package {package}): the source {config.source} builds with it"
        checks.append(Check(package, ok=False, found=found, package=package))
    return checks


def memory(config: Config, labs: int = 1) -> Check:
    """Whether the machines' memory is there for so many more labs, and else for how many it is."""
    one_lab, there = len(config.nodes) * config.machine.memory, host.memory_available()
    machines = f"{len(config.nodes)} machines of {config.machine.memory}"
    of = machines if labs == 1 else f"{labs} labs of {machines}; there is room for {there // one_lab}"
    found = f"{there} MiB available, {labs * one_lab} MiB wanted: {of}"
    return Check("memory", there >= labs * one_lab, found)


def disk() -> Iterator[Check]:
    """Whether there is room for a lab."""
    for name, path in (("disk for labs", paths.state()), ("disk for built artifacts", paths.cache())):
        free = host.disk_free(path)
        found = f"{free} MiB free for {path}, {DISK_FOR_A_LAB} MiB wanted"
        yield Check(name, free >= DISK_FOR_A_LAB, found)


def ports(config: Config) -> Iterator[Check]:
    """Whether the ports of 127.0.0.1 that the configuration names are free."""
    wanted = {"forward.api": config.forward.api}
    wanted |= {f"forward.node_ports.{port}": host for port, host in config.forward.node_ports.items()}
    for name, port in wanted.items():
        if port == "auto":
            continue
        free = _free(port)
        found = "free" if free else "in use by another program; choose another port in the config, or auto"
        yield Check(f"port {port} of 127.0.0.1 ({name})", free, found)


def proxy_mode(config: Config, provider: Provider) -> Check:
    """Whether the nodes' kernel can serve the proxy mode asked for, and else which provider's can."""
    mode, there = config.proxy.mode, provider.proxy_modes()
    if mode in there:
        return Check(
            f"proxy mode {mode}", ok=True, found=f"provider {config.provider} serves {', '.join(there)}"
        )
    able = []
    for name in providers.PROVIDERS:
        with contextlib.suppress(LabError, ImportError):
            other = providers.get(config.model_copy(update={"provider": name}), provider.state)
            if other.on_this_host and mode in other.proxy_modes():
                able.append(f"--provider {name}")
    found = (
        f"the kernel of {config.provider}'s nodes cannot serve it, only {', '.join(there)}; "
        f"what can: {', '.join(able) or 'nothing on this host'}"
    )
    return Check(f"proxy mode {mode}", ok=False, found=found)


def kernel() -> Iterator[Check]:
    """What only some providers want of this host's kernel."""
    loaded = Path("/proc/net/ip_vs").exists()
    found = (
        "loaded" if loaded else "not loaded in this host's kernel: provider podman has no ipvs mode, uml has"
    )
    yield Check("ip_vs", loaded, found, needed=False)
    podman = shutil.which("podman")
    yield Check(
        "podman", podman is not None, podman or "missing: only provider podman wants it", needed=False
    )


def _provider_on_record(state: LabState) -> str | None:
    """Whose machines the lab has; None where there is no record, or none that can be read."""
    with contextlib.suppress(InputError):
        known = state.read_config()
        return known.provider if known else None
    return None


def everything(
    config: Config, state: LabState, provider: Provider, source: Source, *, labs: int = 1
) -> list[Check]:
    """All checks for a lab, or so many alike of which it is the first.

    A lab that runs already holds its memory and ports, so these are left out.
    """
    found = tools(config, provider, source)
    # Another provider's machines are none that this one could be asked about.
    ours = _provider_on_record(state) == config.provider
    running = ours and "running" in provider.status().values()
    if provider.on_this_host and not running:
        found += [memory(config, labs), *disk(), *ports(config)]
    found.append(proxy_mode(config, provider))
    faults = [*provider.faults(), *(provider.limits(labs) if not running else [])]
    found += [Check(f"provider {config.provider}", ok=False, found=fault) for fault in faults]
    mentioned = [check.package for check in found if check.package and not check.ok]
    for fault in source.faults(config):
        # A package that is missing has been said above.
        if not any(package == fault for package in mentioned):
            found.append(Check(f"source {config.source}", ok=False, found=fault))
    return found


def missing_packages(found: Iterable[Check]) -> list[str]:
    """The Debian packages that would mend what is missing."""
    return sorted({check.package for check in found if check.package and not check.ok and check.needed})


def require(found: Iterable[Check]) -> None:
    """See that all is well.

    Raises:
        PrerequisiteError: with every fault, and the command that mends what packages can.
    """
    found = list(found)
    bad = [check for check in found if check.needed and not check.ok]
    if not bad:
        return
    names = missing_packages(found)
    things = "1 thing" if len(bad) == 1 else f"{len(bad)} things"
    raise PrerequisiteError(
        f"{things} missing or in the way; nothing was touched.",
        details=[f"{check.name}: {check.found}" for check in bad],
        fix=host.install_command(names) if names else None,
    )


def _free(port: int) -> bool:
    with socket.socket() as sock:
        # As the forwarder binds: a connection's last minute after its end does not count as in use.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(("127.0.0.1", port))
            sock.listen(1)
        except OSError:
            return False
    return True


def _packages(source: Source, config: Config) -> list[str]:
    try:
        return source.missing_packages(config)
    except LabError:
        return []  # why is among the source's faults
