from __future__ import annotations

import subprocess

import pytest

from lab import proxy
from lab.proxy import READERS, UnreadableDump
from lab.proxy.addresses import interface_addresses, local_addresses
from lab.proxy.ipset_save import parse as parse_ipset
from lab.proxy.nft_json import parse as parse_nft


def test_the_table_of_readers() -> None:
    assert list(READERS) == ["iptables", "ipvs", "nftables"]
    assert len(READERS) == 3
    assert "userspace" not in READERS
    for mode, reader in READERS.items():
        assert reader.mode == mode
        assert reader.commands == {name: proxy.COMMANDS[name] for name in reader.needs}


@pytest.mark.parametrize("mode", ["iptables", "ipvs", "nftables"])
def test_a_missing_output_is_named(mode: str) -> None:
    with pytest.raises(UnreadableDump, match="lacks the output of"):
        proxy.read(mode, {"ip-addr": "[]"})


def test_script_and_split_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    commands = {"two-lines": ("printf", "a\\nb\\n"), "fails": ("false",), "absent": ("no-such-command-here",)}
    monkeypatch.setattr("lab.proxy.commands.COMMANDS", commands)
    done = subprocess.run(["sh", "-c", proxy.script(commands)], capture_output=True, text=True, check=True)
    assert proxy.split(done.stdout) == {"two-lines": "a\nb\n", "fails": "", "absent": ""}


@pytest.mark.parametrize("text", ["", "Warning: banner\n@@ lab dump nft\n"])
def test_other_output_is_no_dump(text: str) -> None:
    with pytest.raises(UnreadableDump):
        proxy.split(text)


def test_addresses() -> None:
    text = """[{"ifname": "lo", "addr_info": [{"family": "inet", "local": "127.0.0.1"},
                                            {"family": "inet6", "local": "::1"}]},
               {}, {"ifname": "eth0"},
               {"ifname": "kube-ipvs0", "addr_info": [{"family": "inet", "local": "10.96.0.1"}]}]"""
    assert interface_addresses(text) == {"lo": ("127.0.0.1",), "eth0": (), "kube-ipvs0": ("10.96.0.1",)}
    assert local_addresses(text) == ("127.0.0.1",)


@pytest.mark.parametrize("text", ["", "1: lo: <LOOPBACK>", '[{"index": 1}]', "{"])
def test_other_text_is_no_list_of_addresses(text: str) -> None:
    with pytest.raises(UnreadableDump):
        interface_addresses(text)


def test_other_text_is_no_ipset() -> None:
    with pytest.raises(UnreadableDump):
        parse_ipset("add KUBE-CLUSTER-IP 10.96.0.1,tcp:443\n")
    assert parse_ipset("") == {}


def test_nft_text() -> None:
    assert parse_nft("") is None
    assert parse_nft('{"nftables": [{"metainfo": {"version": "1.0.6"}}]}') is None
    for text in ("table ip kube-proxy {", "{}", "[]"):
        with pytest.raises(UnreadableDump):
            parse_nft(text)
