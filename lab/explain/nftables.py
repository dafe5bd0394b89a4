"""nftables mode: one table, walked by its base chains in the kernel's order of hooks and priorities.

Upstream: `setupNFTables` and `syncProxyRules` in `pkg/proxy/nftables/proxier.go`.
"""

from __future__ import annotations

from collections.abc import Mapping

from lab.explain.course import Course, arriving, local
from lab.explain.nft_way import NftWay
from lab.explain.walk import Flow, Record, join
from lab.proxy.model import Frontend
from lab.proxy.nft_json import NftTable, parse


class NftablesCourse(Course):
    """See `Course`."""

    def read(self, outputs: Mapping[str, str]) -> None:
        """See `Course.read`."""
        self._table = parse(outputs["nft"]) or NftTable()
        self._maps = {
            name: {element.key: element for element in elements}
            for name, elements in self._table.elements.items()
        }

    def follow(self, to: Frontend, flow: Flow, record: Record) -> None:
        """See `Course.follow`."""
        way = NftWay(self._table, self._maps, self.own, record)
        left = way.hook({"filter-output-pre-dnat": local(flow), "filter-prerouting-pre-dnat": arriving(flow)})
        left = way.hook({"nat-output": local(left), "nat-prerouting": arriving(left)})
        mine = way.hook({"filter-output": local(left)})
        if to.ip in self.own:  # what the node sends to itself goes out and comes in again
            way.hook({"filter-input": join(mine, arriving(left))})
        else:
            way.hook({"filter-forward": arriving(left)})
        way.hook({"nat-postrouting": record.leaving(to.protocol)})
