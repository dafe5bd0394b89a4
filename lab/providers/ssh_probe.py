"""What a machine says of itself before anything on it is touched: one connection, one script, read only."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Interface
from pathlib import Path

from lab import shell, ssh
from lab.errors import WaitTimeout
from lab.host_kernel import NEEDS, HostKernel

SCRIPT = Path(__file__).with_name("ssh_probe.sh")
TIMEOUT = 60
LISTENS = "0A"  # the state of a listening socket in /proc/net/tcp


@dataclass(frozen=True)
class Probe:
    """What one machine said.

    Args:
        said: its answers by name, as `ssh_probe.sh` begins them; empty when nobody let us in.
        refusal: why it did not answer, in ssh's own words; empty when it did.
        ahead: seconds that its clock is before this host's; as good as the connection is quick.
    """

    said: Mapping[str, str]
    refusal: str = ""
    ahead: float = 0.0

    @classmethod
    def of(cls, text: str) -> Probe:
        """The answers in what the script printed."""
        said = {}
        for part in f"\n{text}".split("\n@@@ ")[1:]:
            name, _, answer = part.partition("\n")
            said[name] = answer.strip()
        return cls(said)

    def lines(self, name: str) -> list[str]:
        """An answer's lines."""
        return self.said.get(name, "").splitlines()

    def number(self, name: str) -> int:
        """An answer that is one number; 0 when there was none."""
        answer = self.said.get(name, "")
        return int(answer) if answer.isdigit() else 0

    @property
    def release(self) -> Mapping[str, str]:
        """os-release(5)."""
        pairs = (line.partition("=") for line in self.lines("system"))
        return {key: value.strip("\"'") for key, _, value in pairs}

    @property
    def listening(self) -> set[int]:
        """The TCP ports that something listens on."""
        return {port for port, state in self._sockets("ports") if state == LISTENS}

    @property
    def datagrams(self) -> set[int]:
        """The UDP ports that are bound."""
        return {port for port, _ in self._sockets("udp")}

    @property
    def addresses(self) -> list[IPv4Interface]:
        """Its IPv4 addresses, loopback's left out."""
        text = self.said.get("addresses", "")
        # Of `ip address`; without it there is `hostname -I`, which has IPv6 addresses too, and no prefixes.
        found = re.findall(r"inet (\S+)", text) or [word for word in text.split() if "." in word]
        return [address for address in map(IPv4Interface, found) if not address.ip.is_loopback]

    @property
    def kernel(self) -> HostKernel:
        """Its kernel: options and modules that a proxy mode may need."""
        options = dict(
            line.removeprefix("CONFIG_").split("=", 1) for line in self.lines("options") if "=" in line
        )
        modules = frozenset((*self.lines("loaded"), *self.lines("modules")))
        if self.said.get("ipvs") and not options:
            # It says nothing of how it was built, but ip_vs runs in it: the rest is taken to be there too.
            modules |= {module for choices in NEEDS["ipvs"] for _, module in choices}
        kinds = frozenset(line.split()[-1] for line in self.lines("filesystems") if line)
        return HostKernel(self.said.get("release") or "0.0", options or None, modules, kinds)

    def _sockets(self, name: str) -> list[tuple[int, str]]:
        """Local port and state of each row of proc_net_tcp(5)."""
        rows = (line.split() for line in self.lines(name))
        return [
            (int(row[1].rpartition(":")[2], 16), row[3]) for row in rows if len(row) > 3 and ":" in row[1]
        ]


def script() -> str:
    """The script, told which options and modules of a kernel matter."""
    pairs = [pair for mode in NEEDS.values() for choices in mode for pair in choices]
    pairs += [("OVERLAY_FS", "overlay"), ("BRIDGE_NETFILTER", "br_netfilter"), ("VXLAN", "vxlan")]
    pairs += [("BRIDGE", "bridge"), ("VETH", "veth")]
    options = "|".join(sorted({option for option, _ in pairs}))
    modules = "|".join(sorted({module for _, module in pairs}))
    return f"options='{options}'\nmodules='{modules}'\n{SCRIPT.read_text()}"


def ask(config: Path, name: str) -> Probe:
    """Ask a machine.

    Args:
        config: the ssh configuration that reaches it.
        name: its name there.
    """
    begun = time.time()
    try:
        said = shell.run(ssh.argv(config, name, "sh", "-s"), input=script(), timeout=TIMEOUT, check=False)
    except WaitTimeout:
        return Probe({}, refusal=f"no answer within {TIMEOUT} s")
    probe = Probe.of(said.stdout)
    if "end" not in probe.said:
        why = (said.stderr.strip().splitlines() or [f"exit {said.returncode}"])[-1]
        return Probe({}, refusal=why)
    # Its clock was read somewhere between the two readings of ours.
    there, now = float(probe.said.get("time") or begun), time.time()
    ahead = there - now if there > now else min(0.0, there - begun)
    return Probe(probe.said, ahead=ahead)
