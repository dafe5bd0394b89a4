from __future__ import annotations

import pytest
from proxy_dumps import outputs

from lab import proxy
from lab.proxy.residue import residue


def test_ipvs_left_under_iptables() -> None:
    left = residue("iptables", outputs("switched/iptables-after-ipvs"))
    assert "ipvs: device kube-ipvs0 exists with 38 addresses" in left
    assert "ipvs: virtual server 10.96.0.1:443/TCP" in left
    assert "ipvs: ipset KUBE-CLUSTER-IP exists" in left
    assert "ipvs: iptables filter has chain KUBE-IPVS-FILTER" in left
    assert all(sentence.startswith("ipvs: ") for sentence in left), "shared chains are iptables mode's own"


def test_both_left_under_nftables() -> None:
    """kube-proxy's own clean-up of the filter table fails as long as ipvs mode's jumps hold a chain."""
    left = residue("nftables", outputs("switched/nftables-after-ipvs"))
    assert "iptables: iptables filter has chain KUBE-EXTERNAL-SERVICES" in left
    assert "iptables or ipvs: iptables filter has chain KUBE-FORWARD" in left
    assert "ipvs: iptables nat has chain KUBE-NODE-PORT" in left


def test_nftables_left() -> None:
    assert "nftables: table ip kube-proxy exists" in residue(
        "iptables", outputs("switched/nftables-after-ipvs")
    )


@pytest.mark.parametrize("chain", ["KUBE-FIREWALL", "KUBE-IPTABLES-HINT", "KUBE-KUBELET-CANARY"])
def test_kubelet_chains_are_no_residue(chain: str) -> None:
    texts = outputs("switched/nftables-all-addresses")
    assert f":{chain} " in texts["iptables-save"]
    assert residue("nftables", texts) == []


def test_a_missing_dump_is_no_clean_node() -> None:
    texts = outputs("switched/nftables-all-addresses")
    del texts["ipset"]
    with pytest.raises(proxy.UnreadableDump, match="ipset"):
        residue("nftables", texts)
