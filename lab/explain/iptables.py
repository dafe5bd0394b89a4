"""iptables mode: translated in nat, refused in filter if nothing was, masqueraded on the way out.

Upstream: `syncProxyRules` in `pkg/proxy/iptables/proxier.go`; the hooks' order is the kernel's.
"""

from __future__ import annotations

from collections.abc import Mapping

from lab.explain.course import Course, arriving, local
from lab.explain.netfilter import Netfilter
from lab.explain.walk import Flow, Record, join
from lab.proxy import iptables_save
from lab.proxy.model import Frontend


class IptablesCourse(Course):
    """See `Course`."""

    def read(self, outputs: Mapping[str, str]) -> None:
        """See `Course.read`."""
        self._tables = iptables_save.parse(outputs["iptables-save"])

    def follow(self, to: Frontend, flow: Flow, record: Record) -> None:
        """See `Course.follow`."""
        chains = Netfilter(self._tables, self.own, {}, record)
        left = chains.hook("nat", {"OUTPUT": local(flow), "PREROUTING": arriving(flow)})
        mine = chains.hook("filter", {"OUTPUT": local(left)})
        if to.ip in self.own:  # what the node sends to itself goes out and comes in again
            chains.hook("filter", {"INPUT": join(mine, arriving(left))})
        else:
            chains.hook("filter", {"FORWARD": arriving(left)})
        chains.hook("nat", {"POSTROUTING": record.leaving(to.protocol)})
