"""ipvs mode: iptables only marks and refuses, by ipsets; a virtual server of the kernel's chooses.

Upstream: `pkg/proxy/ipvs/README.md`; the kernel's hooks: `ip_vs_ops4` in `net/netfilter/ipvs/ip_vs_core.c`.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

from lab.explain import words
from lab.explain.course import Course, arriving, local
from lab.explain.netfilter import Netfilter
from lab.explain.walk import Flow, Record, part
from lab.proxy import counters, ipset_save, iptables_save, ipvsadm
from lab.proxy.ipvs import WEIGHTLESS
from lab.proxy.model import Frontend, Refusal

_SCHEDULERS = {
    "rr": "each in turn",
    "wrr": "each in turn, by weight",
    "lc": "the one with the fewest connections",
    "wlc": "the one with the fewest connections for its weight",
    "sh": "by the client's address",
    "dh": "by the destination's address",
    "mh": "by the client's address (Maglev)",
    "sed": "the one with the shortest expected delay",
    "nq": "one that is idle, else the shortest expected delay",
}


class IpvsCourse(Course):
    """See `Course`."""

    def read(self, outputs: Mapping[str, str]) -> None:
        """See `Course.read`."""
        self._tables = iptables_save.parse(outputs["iptables-save"])
        self._sets = ipset_save.parse(outputs["ipset"])
        self._servers = ipvsadm.parse(outputs["ipvsadm"])
        self._counted = counters.of_ipvs(outputs.get("ipvs-stats", ""))

    def follow(self, to: Frontend, flow: Flow, record: Record) -> None:
        """See `Course.follow`."""
        chains = Netfilter(self._tables, self.own, self._sets, record)
        left = chains.hook("nat", {"OUTPUT": local(flow), "PREROUTING": arriving(flow)})
        if to.ip in self.own:
            left = chains.hook("filter", {"INPUT": arriving(left), "OUTPUT": local(left)})
            self._schedule(to, left, record)
        else:
            chains.hook("filter", {"FORWARD": arriving(left)})
        chains.hook("nat", {"POSTROUTING": record.leaving(to.protocol)})

    def _schedule(self, to: Frontend, flow: Flow, record: Record) -> None:
        """What the virtual server does with what gets to it."""
        server = self._servers.get(to)
        if server is None or not flow:
            return
        how = _SCHEDULERS.get(server.scheduler, f"by {server.scheduler}")
        kept = ""
        if server.persistence is not None:
            record.sticky = server.persistence
            kept = f"; a client that came here in the last {server.persistence} s goes where it went then"
        record.step(
            "ipvs virtual server",
            0,
            server.raw,
            f"Choose a real server: {how}{kept}",
            flow,
            leads=f"virtual server, {server.scheduler}",
        )
        weights = {real.endpoint: real.weight for real in server.real if real.weight > 0}
        if server.scheduler in WEIGHTLESS:
            weights = dict.fromkeys(weights, 1)
        counted = self._counted.get(to, {})
        for real in server.real:
            share = Fraction(weights.get(real.endpoint, 0), sum(weights.values()) or 1)
            taken = part(flow, dict.fromkeys(flow, share))
            ip, port = real.endpoint
            text = f"send {words.share(share)} of them to {ip}:{port}"
            if real.weight == 0:
                text = f"send no new ones to {ip}:{port}: it only keeps the connections it has"
            record.step(
                "ipvs real server",
                1,
                real.raw,
                words.sentence([], text),
                taken,
                packets=counted.get(real.endpoint),
                end=real.endpoint,
            )
            record.arrive(taken, real.endpoint)
        if not weights:
            # The kernel answers "port unreachable" where a virtual server has nobody to send to.
            record.refuse(flow, Refusal.REJECT)
