"""What another proxy mode left behind on a node.

kube-proxy cleans up the other modes when it starts, but not what it cannot see: nothing of ipvs where there
is no `modprobe` (`CleanupLeftovers` in `pkg/proxy/ipvs/cleanup.go`). kubelet's own chains are no residue.
"""

from __future__ import annotations

from collections.abc import Mapping

from lab.proxy import ipset_save, iptables_save, ipvsadm, nft_json
from lab.proxy.addresses import IPVS_DEVICE, interface_addresses
from lab.proxy.iptables_owned import IPTABLES_CHAINS, IPVS_CHAINS, SERVICE_PREFIXES
from lab.proxy.iptables_save import Table
from lab.proxy.model import UnreadableDump

IPSETS = frozenset(
    {
        "KUBE-LOOP-BACK",
        "KUBE-CLUSTER-IP",
        "KUBE-EXTERNAL-IP",
        "KUBE-EXTERNAL-IP-LOCAL",
        "KUBE-LOAD-BALANCER",
        "KUBE-LOAD-BALANCER-FW",
        "KUBE-LOAD-BALANCER-LOCAL",
        "KUBE-LOAD-BALANCER-SOURCE-IP",
        "KUBE-LOAD-BALANCER-SOURCE-CIDR",
        "KUBE-NODE-PORT-TCP",
        "KUBE-NODE-PORT-LOCAL-TCP",
        "KUBE-NODE-PORT-UDP",
        "KUBE-NODE-PORT-LOCAL-UDP",
        "KUBE-NODE-PORT-SCTP-HASH",
        "KUBE-NODE-PORT-LOCAL-SCTP-HASH",
        "KUBE-HEALTH-CHECK-NODE-PORT",
        "KUBE-IPVS-IPS",
    }
)
"""kube-proxy's sets (`ipsetInfo` in `pkg/proxy/ipvs/proxier.go`); of IPv6 each begins with KUBE-6-."""


def residue(mode: str, outputs: Mapping[str, str]) -> list[str]:
    """What is on a node that only a mode other than the given one makes, one sentence each; empty when clean.

    Args:
        mode: the mode that kube-proxy runs in now.
        outputs: all five dumps of `lab.proxy.COMMANDS`, empty where there is no such table or tool.

    Raises:
        UnreadableDump: a dump is missing or is no such dump.
    """
    needed = ("iptables-save", "nft", "ipvsadm", "ipset", "ip-addr")
    missing = [name for name in needed if name not in outputs]
    if missing:
        raise UnreadableDump(f"Residue cannot be told without the output of: {', '.join(missing)}")
    found = _chains(mode, iptables_save.parse(outputs["iptables-save"]))
    if mode != "ipvs":
        found += _ipvs(outputs)
    if mode != "nftables" and nft_json.parse(outputs["nft"]) is not None:
        found.append("nftables: table ip kube-proxy exists")
    return found


def _chains(mode: str, tables: Mapping[str, Table]) -> list[str]:
    """KUBE-* chains of the other modes; those that iptables and ipvs mode share are residue for neither."""
    found = []
    for name, table in tables.items():
        for chain in table.chains:
            of_service = name == "nat" and chain.startswith(SERVICE_PREFIXES)
            owners = [
                owner
                for owner, owned in (
                    ("iptables", (name, chain) in IPTABLES_CHAINS or of_service),
                    ("ipvs", (name, chain) in IPVS_CHAINS),
                )
                if owned
            ]
            if owners and mode not in owners:
                found.append(f"{' or '.join(owners)}: iptables {name} has chain {chain}")
    return found


def _ipvs(outputs: Mapping[str, str]) -> list[str]:
    found = []
    interfaces = interface_addresses(outputs["ip-addr"])
    if IPVS_DEVICE in interfaces:
        found.append(f"ipvs: device {IPVS_DEVICE} exists with {len(interfaces[IPVS_DEVICE])} addresses")
    found += [f"ipvs: virtual server {front}" for front in sorted(ipvsadm.parse(outputs["ipvsadm"]))]
    for name in sorted(ipset_save.parse(outputs["ipset"])):
        if name.replace("KUBE-6-", "KUBE-", 1) in IPSETS:
            found.append(f"ipvs: ipset {name} exists")
    return found
