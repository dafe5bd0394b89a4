"""The commands that dump a node's rules, one by one or all in one round trip."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from types import MappingProxyType

from lab.proxy.model import UnreadableDump

COMMANDS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "iptables-save": ("iptables-save",),
        # Its own table only: an older nft may not read what newer ones made elsewhere (kubernetes#136786).
        "nft": ("nft", "-j", "list", "table", "ip", "kube-proxy"),
        "ipvsadm": ("ipvsadm", "-Sn"),
        "ipset": ("ipset", "save"),
        "ip-addr": ("ip", "-j", "addr", "show"),
    }
)
"""Name to argv, for every mode. All only read. Run as root on the node."""

_LOOK = {
    # iptables comes in two flavours that do not see each other's rules: the one with kube-proxy's is meant.
    "iptables-save": "said=$(iptables-save -c); for save in iptables-nft-save iptables-legacy-save; do "
    'case $said in *":KUBE-SERVICES "*) break;; esac; other=$($save -c); '
    'case $other in *":KUBE-SERVICES "*) said=$other;; esac; done; printf "%s\\n" "$said"',
    "ipvs-stats": "ipvsadm -Ln --stats --exact",
    "proxy-mode": "curl -sS -m 5 http://127.0.0.1:10249/proxyMode && echo",
    "configz": "curl -sS -m 5 http://127.0.0.1:10249/configz && echo",
    "last-sync": "curl -sS -m 5 http://127.0.0.1:10249/metrics | "
    "grep '^kubeproxy_sync_proxy_rules_last_timestamp_seconds'",
}
"""What else a look at a node takes, as shell: rules with counters, and what kube-proxy says of itself."""

_MARK = "@@ lab dump "


def script(names: Iterable[str] = COMMANDS) -> str:
    """One POSIX shell script that runs the named commands and marks where each one's output begins.

    A command that fails (no such table, no ip_vs in the kernel) gives an empty output, as its absence should.
    """
    return _marked({name: shlex.join(COMMANDS[name]) for name in names})


def look() -> str:
    """The same of every dump, on any node: rules with their counters, kube-proxy's mode and configuration."""
    return _marked({name: shlex.join(argv) for name, argv in COMMANDS.items()} | _LOOK)


def _marked(commands: Mapping[str, str]) -> str:
    lines = []
    for name, command in commands.items():
        lines.append(f"echo {shlex.quote(_MARK + name)}")
        lines.append(f"{{ {command}; }} 2>/dev/null || :")
    return "; ".join(lines)


def split(text: str) -> dict[str, str]:
    """What `script` printed, as name to output.

    Raises:
        UnreadableDump: there is text before the first mark, or no mark at all.
    """
    outputs: dict[str, list[str]] = {}
    current: list[str] | None = None
    for line in text.splitlines(keepends=True):
        if line.startswith(_MARK):
            current = outputs.setdefault(line.removeprefix(_MARK).strip(), [])
        elif current is None:
            raise UnreadableDump("The dump script's output begins without a mark", details=[line.strip()])
        else:
            current.append(line)
    if not outputs:
        raise UnreadableDump("The dump script printed nothing")
    return {name: "".join(lines) for name, lines in outputs.items()}
