"""What this host's own kernel can do, read from what it says of itself; nothing is loaded or made."""

from __future__ import annotations

import gzip
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

#: What kube-proxy's rules need in each mode: any one option of a line is enough, each with its module's name.
#: Sources: kube-proxy's own rules in each mode (pkg/proxy/{iptables,ipvs,nftables} of Kubernetes 1.37).
NEEDS: Mapping[str, tuple[tuple[tuple[str, str], ...], ...]] = {
    "iptables": (
        (("NFT_COMPAT", "nft_compat"), ("IP_NF_IPTABLES", "ip_tables")),
        (("NETFILTER_XT_MATCH_STATISTIC", "xt_statistic"),),
        (("NETFILTER_XT_MATCH_ADDRTYPE", "xt_addrtype"),),
        (("NETFILTER_XT_MATCH_CONNTRACK", "xt_conntrack"),),
        (("NETFILTER_XT_MATCH_COMMENT", "xt_comment"),),
        (("NETFILTER_XT_MATCH_RECENT", "xt_recent"),),
        (("NETFILTER_XT_TARGET_MASQUERADE", "xt_MASQUERADE"), ("IP_NF_TARGET_MASQUERADE", "ipt_MASQUERADE")),
    ),
    "ipvs": (
        (("IP_VS", "ip_vs"),),
        (("IP_VS_PROTO_TCP", "ip_vs"),),
        (("IP_VS_RR", "ip_vs_rr"),),
        (("IP_VS_NFCT", "ip_vs"),),
        (("DUMMY", "dummy"),),
        (("IP_SET_HASH_IPPORT", "ip_set_hash_ipport"),),
        (("NETFILTER_XT_SET", "xt_set"),),
    ),
    "nftables": (
        (("NF_TABLES", "nf_tables"),),
        (("NF_TABLES_IPV4", "nf_tables"),),
        (("NFT_NUMGEN", "nft_numgen"),),
        (("NFT_NAT", "nft_nat"),),
        (("NFT_MASQ", "nft_masq"),),
        (("NFT_FIB_IPV4", "nft_fib_ipv4"),),
        (("NFT_CT", "nft_ct"),),
        (("NFT_REJECT", "nft_reject"),),
    ),
}
NFTABLES_SINCE = (5, 13)


@dataclass(frozen=True)
class HostKernel:
    """A running kernel.

    Args:
        release: as `uname -r` says it.
        options: build options that are on, `CONFIG_` left out, with `y` or `m`; None when it does not say.
        modules: names of the modules that are loaded, built in, or can be loaded, `-` written as `_`.
        filesystems: the types it can mount.
    """

    release: str
    options: Mapping[str, str] | None
    modules: frozenset[str]
    filesystems: frozenset[str] = field(default_factory=frozenset)

    @classmethod
    def detect(cls, root: Path = Path("/")) -> HostKernel:
        """The kernel this process runs on; `root` is where its files are looked for."""
        release = os.uname().release
        modules = {path.name for path in _listing(root / "sys/module")}
        # Loaded but without parameters of its own: /sys/module has it only where modules can be loaded.
        modules |= {line.split()[0] for line in _lines(root / "proc/modules") if line}
        for name in ("modules.builtin", "modules.dep"):
            for line in _lines(root / "lib/modules" / release / name):
                modules.add(Path(line.partition(":")[0]).name.partition(".ko")[0].replace("-", "_"))
        filesystems = frozenset(line.split()[-1] for line in _lines(root / "proc/filesystems") if line)
        return cls(release, _options(root, release), frozenset(modules), filesystems)

    def has(self, option: str, module: str) -> bool | None:
        """Whether it can do something, by its build option and its module; None when it does not say."""
        if module in self.modules:
            return True
        if self.options is None:
            return None
        # An `m` without a module on disk cannot be loaded; where no modules are listed at all, believe it.
        return self.options.get(option) == "y" or (self.options.get(option) == "m" and not self.modules)

    def lacks(self, mode: str) -> list[str]:
        """What a proxy mode needs and this kernel does not have, as names of build options.

        What it does not say is taken to be there, but for ip_vs, which many kernels leave out.
        """
        missing = []
        for choices in NEEDS[mode]:
            answers = [self.has(option, module) for option, module in choices]
            assumed = None in answers and mode != "ipvs"
            if True not in answers and not assumed:
                missing.append(" or ".join(option for option, _ in choices))
        if mode == "nftables" and self.version < NFTABLES_SINCE:
            missing.append("Linux 5.13 or newer")
        return missing

    @property
    def version(self) -> tuple[int, int]:
        """Major and minor number."""
        major, minor = self.release.split(".")[:2]
        return int(major), int("".join(c for c in minor if c.isdigit()) or 0)

    def loadable(self, names: Iterable[str]) -> Sequence[str]:
        """Those of the modules that are worth a modprobe: there is a folder of modules for this kernel."""
        folder = Path("/lib/modules") / self.release
        return [name for name in names if folder.is_dir() and name in self.modules]


def _options(root: Path, release: str) -> dict[str, str] | None:
    packed = root / "proc/config.gz"
    if packed.is_file():
        lines = gzip.decompress(packed.read_bytes()).decode(errors="replace").splitlines()
    else:
        lines = _lines(root / f"boot/config-{release}") or _lines(root / "lib/modules" / release / "config")
    if not lines:
        return None
    pairs = (line.removeprefix("CONFIG_").partition("=") for line in lines if line.startswith("CONFIG_"))
    return {name: value for name, _, value in pairs if value in ("y", "m")}


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text(errors="replace").splitlines()
    except OSError:
        return []


def _listing(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []
