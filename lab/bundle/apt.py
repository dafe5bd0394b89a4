"""Debian's archive without touching the host's apt: the host's own mirror, and a private apt state."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from pathlib import Path

from lab.bundle.runner import said

# Debian's own addresses, used where the host's sources name no Debian mirror.
DEFAULT = "http://deb.debian.org/debian"
SUITES_OF_DEBIAN = ("bookworm", "trixie", "forky", "sid", "stable", "testing", "unstable", "oldstable")
SOURCES = Path("/etc/apt")
KEYRINGS = tuple(Path(f"/usr/share/keyrings/debian-archive-keyring.{kind}") for kind in ("gpg", "pgp"))
# What a host's apt is told about reaching mirrors holds for our state too: proxies, clocks, certificates.
HOST_OPTIONS = re.compile(
    r'^(Acquire::(?:http|https)::[^ ]+|Acquire::Check-[A-Za-z-]+) "(.*)";$', re.MULTILINE
)


def keyring() -> Path:
    """Debian's archive keys on this host (package debian-archive-keyring)."""
    return next((path for path in KEYRINGS if path.exists()), KEYRINGS[0])


def mirror(sources: Path = SOURCES) -> str:
    """The Debian mirror of the host's own sources, else Debian's default."""
    for uri, suite in _entries(sources):
        if suite.split("-")[0] in SUITES_OF_DEBIAN and uri.rstrip("/").endswith("/debian"):
            return uri.rstrip("/")
    return DEFAULT


def security_mirror(sources: Path = SOURCES) -> str:
    """The mirror of Debian's security updates, as the host's own sources name it."""
    for uri, suite in _entries(sources):
        if suite.endswith("-security") and uri.rstrip("/").endswith("/debian-security"):
            return uri.rstrip("/")
    return DEFAULT + "-security"


def lines(suites: Iterable[str]) -> list[str]:
    """One-line apt sources for those suites; `-security` ones come from the security mirror."""
    found = []
    for suite in suites:
        uri = security_mirror() if suite.endswith("-security") else mirror()
        found.append(f"deb [signed-by={keyring()}] {uri} {suite} main")
    return found


def host_options() -> list[str]:
    """What the host's apt is told about reaching mirrors, as `name "value"`."""
    return [f'{name} "{value}"' for name, value in HOST_OPTIONS.findall(said(["apt-config", "dump"]))]


def private_state(folder: Path, suites: Iterable[str]) -> dict[str, str]:
    """Make an apt state of our own in `folder`; needs no root and leaves the host's alone.

    Returns:
        The environment that makes apt-get, apt-cache and the like use it.
    """
    for part in ("state/lists/partial", "cache/archives/partial", "etc/apt.conf.d", "etc/preferences.d"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    (folder / "status").touch()
    (folder / "etc/sources.list").write_text("".join(line + "\n" for line in lines(suites)))
    options = [
        f'Dir::Etc "{folder}/etc"',
        f'Dir::Etc::SourceList "{folder}/etc/sources.list"',
        'Dir::Etc::SourceParts "/dev/null"',
        f'Dir::State "{folder}/state"',
        f'Dir::State::status "{folder}/status"',
        f'Dir::Cache "{folder}/cache"',
        'APT::Architecture "amd64"',
        'APT::Architectures "amd64"',
        'APT::Sandbox::User ""',
        'Acquire::Languages "none"',
        'Acquire::Retries "3"',
        # The host's own hooks after an update are not meant for this.
        "#clear APT::Update::Post-Invoke",
        "#clear APT::Update::Post-Invoke-Success",
        "#clear DPkg::Post-Invoke",
    ]
    config = folder / "apt.conf"
    config.write_text("".join(option + ";\n" for option in [*options, *host_options()]))
    return {"APT_CONFIG": str(config)}


def newest(
    env_config: str, package: re.Pattern[str], minimum: str, preferred: Collection[str] = ()
) -> tuple[str, str] | None:
    """The newest package whose name matches, and its version, if it is not older than `minimum`.

    Args:
        env_config: the `apt.conf` that `private_state` made.
        package: the name, with one group: the upstream series (`7.2`).
        minimum: the oldest series that does.
        preferred: series that are taken before newer ones.
    """
    names = said(["env", f"APT_CONFIG={env_config}", "apt-cache", "pkgnames"]).split()
    found = [(numbers(match[1]), name) for name in names if (match := package.fullmatch(name))]
    found = [(series, name) for series, name in found if series >= numbers(minimum)]
    wanted = {numbers(series) for series in preferred}
    found = [(series, name) for series, name in found if series in wanted] or found
    if not found:
        return None
    name = max(found)[1]
    policy = said(["env", f"APT_CONFIG={env_config}", "apt-cache", "policy", name])
    candidate = re.search(r"Candidate: (\S+)", policy)
    return (name, candidate[1]) if candidate and candidate[1] != "(none)" else None


def numbers(version: str) -> tuple[int, ...]:
    """`6.16` as (6, 16), to compare."""
    return tuple(int(part) for part in version.split("."))


def _entries(sources: Path) -> list[tuple[str, str]]:
    """(URI, suite) of the host's sources, one-line and deb822 style."""
    found = []
    for path in (sources / "sources.list", *sorted(sources.glob("sources.list.d/*.list"))):
        for line in _text(path).splitlines():
            match = re.match(r"\s*deb\s+(?:\[[^]]*\]\s+)?(\S+)\s+(\S+)", line)
            if match:
                found.append((match[1], match[2]))
    for path in sorted(sources.glob("sources.list.d/*.sources")):
        for stanza in re.split(r"\n\s*\n", _text(path)):
            keys = dict(re.findall(r"^([A-Za-z-]+):\s*(.*)$", stanza, re.MULTILINE))
            if "deb" in keys.get("Types", "").split() and keys.get("Enabled", "yes") != "no":
                found += [
                    (uri, s) for uri in keys.get("URIs", "").split() for s in keys.get("Suites", "").split()
                ]
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError):
        return ""
