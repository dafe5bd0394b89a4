"""What a kernel says of itself, from its files."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import pytest

from lab.config import PROXY_MODES
from lab.host_kernel import NEEDS, HostKernel

ALL = {option: "y" for needs in NEEDS.values() for choices in needs for option, _ in choices}


def test_everything_built_in() -> None:
    kernel = HostKernel("6.18.44-x", ALL, frozenset())
    assert [mode for mode in PROXY_MODES if not kernel.lacks(mode)] == ["iptables", "ipvs", "nftables"]


def test_a_kernel_without_ip_vs_and_numgen() -> None:
    options = {name: value for name, value in ALL.items() if name not in ("IP_VS", "NFT_NUMGEN", "DUMMY")}
    kernel = HostKernel("6.18.44-x", options, frozenset())
    assert kernel.lacks("iptables") == []
    assert kernel.lacks("ipvs") == ["IP_VS", "DUMMY"]
    assert kernel.lacks("nftables") == ["NFT_NUMGEN"]


def test_either_iptables_does() -> None:
    options = {name: value for name, value in ALL.items() if name != "NFT_COMPAT"}
    assert HostKernel("6.1.0", options, frozenset()).lacks("iptables") == []
    del options["IP_NF_IPTABLES"]
    assert HostKernel("6.1.0", options, frozenset()).lacks("iptables") == ["NFT_COMPAT or IP_NF_IPTABLES"]


def test_an_old_kernel_has_no_nftables_mode() -> None:
    assert HostKernel("5.10.0-30-amd64", ALL, frozenset()).lacks("nftables") == ["Linux 5.13 or newer"]


def test_a_silent_kernel_is_trusted_but_for_ip_vs() -> None:
    kernel = HostKernel("6.1.0", None, frozenset())
    assert kernel.lacks("iptables") == []
    assert kernel.lacks("nftables") == []
    assert "IP_VS" in kernel.lacks("ipvs")


def test_a_module_must_be_there_to_be_loaded() -> None:
    kernel = HostKernel("6.1.0", {"VXLAN": "m", "VETH": "m"}, frozenset({"vxlan"}))
    assert kernel.has("VXLAN", "vxlan") is True
    assert kernel.has("VETH", "veth") is False


@pytest.mark.parametrize("packed", [True, False])
def test_reading_its_files(tmp_path: Path, packed: bool) -> None:
    text = "CONFIG_VXLAN=y\n# CONFIG_IP_VS is not set\nCONFIG_NF_TABLES=m\nCONFIG_HZ=250\n"
    release = os.uname().release
    for folder in ("proc", "boot", f"lib/modules/{release}", "sys/module/veth"):
        (tmp_path / folder).mkdir(parents=True)
    if packed:
        (tmp_path / "proc/config.gz").write_bytes(gzip.compress(text.encode()))
    else:
        (tmp_path / f"boot/config-{release}").write_text(text)
    (tmp_path / f"lib/modules/{release}/modules.dep").write_text(
        "kernel/net/nf-tables.ko.xz: kernel/a/libcrc32c.ko.xz\n"
    )
    (tmp_path / "proc/filesystems").write_text("nodev\tproc\n\text4\nnodev\toverlay\n")
    kernel = HostKernel.detect(tmp_path)
    assert kernel.options == {"VXLAN": "y", "NF_TABLES": "m"}
    assert kernel.modules == {"veth", "nf_tables"}
    assert kernel.filesystems == {"proc", "ext4", "overlay"}
