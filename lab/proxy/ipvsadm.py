"""Text of `ipvsadm -Sn` into virtual servers and their real servers."""

from __future__ import annotations

from dataclasses import dataclass, field

from lab.proxy.model import Endpoint, Frontend, UnrecognisedRule

_PROTOCOLS = {"-t": "TCP", "-u": "UDP", "--sctp-service": "SCTP"}
_FORWARDING = {"-m": "masquerade", "-g": "route", "-i": "tunnel"}


@dataclass(frozen=True, slots=True)
class RealServer:
    """Where a virtual server sends connections; weight 0 takes no new ones."""

    endpoint: Endpoint
    weight: int
    forwarding: str
    raw: str


@dataclass(slots=True)
class VirtualServer:
    """One virtual server; `persistence` is in seconds, None without."""

    scheduler: str
    persistence: int | None
    flags: tuple[str, ...]
    raw: str
    real: list[RealServer] = field(default_factory=list)


def parse(text: str) -> dict[Frontend, VirtualServer]:
    """Every virtual server by address, of IPv4; firewall marks and IPv6 are not kube-proxy's in this model.

    Raises:
        UnrecognisedRule: a line has an option that is not known.
    """
    servers: dict[Frontend, VirtualServer] = {}
    for line in text.splitlines():
        words = line.split()
        if not words or "[" in line:
            continue
        match words:
            case ["-A", protocol, address, *rest] if protocol in _PROTOCOLS:
                servers[_front(protocol, address)] = _virtual(line, rest)
            case ["-a", protocol, address, "-r", real, *rest] if protocol in _PROTOCOLS:
                servers[_front(protocol, address)].real.append(_real(line, real, rest))
            case _:
                raise UnrecognisedRule(line, "ipvsadm -Sn prints no such line for kube-proxy's servers")
    return servers


def _front(protocol: str, address: str) -> Frontend:
    ip, _, port = address.rpartition(":")
    return Frontend(ip, int(port), _PROTOCOLS[protocol])


def _virtual(line: str, words: list[str]) -> VirtualServer:
    options = dict(zip(words[::2], words[1::2], strict=False))
    if len(words) % 2 or set(options) - {"-s", "-p", "-b", "-M"} or "-s" not in options:
        raise UnrecognisedRule(line, "an option is not known")
    if options.get("-M", "255.255.255.255") != "255.255.255.255":
        raise UnrecognisedRule(line, "persistence is not by single address")
    persistence = int(options["-p"]) if "-p" in options else None
    flags = tuple(options.get("-b", "").split(",")) if "-b" in options else ()
    return VirtualServer(options["-s"], persistence, flags, line)


def _real(line: str, address: str, words: list[str]) -> RealServer:
    ip, _, port = address.rpartition(":")
    forwarding = [_FORWARDING[word] for word in words if word in _FORWARDING]
    rest = [word for word in words if word not in _FORWARDING]
    if len(forwarding) != 1 or len(rest) != 2 or rest[0] != "-w":
        raise UnrecognisedRule(line, "an option is not known")
    return RealServer((ip, int(port)), int(rest[1]), forwarding[0], line)
