"""What kube-proxy programmed on a node, read into one model; and what the cluster says it should be.

Everything here is a pure function of text and objects; only you talk to machines:

>>> from lab import proxy
>>> reader = proxy.READERS["nftables"]                          # "iptables" | "ipvs" | "nftables"
>>> outputs = {name: host.check_output(shlex.join(argv)) for name, argv in reader.commands.items()}
>>> rules = reader.read(outputs)                                # or proxy.read("nftables", outputs)
>>> svc = rules.services[proxy.Frontend("10.96.31.7", 80, "TCP")]
>>> svc.service, svc.kind, svc.masquerade, svc.affinity, svc.refusal
('default/mytest-svc', 'cluster', 'outside pod cidr', None, None)
>>> [(b.ip, b.port, b.weight) for b in svc.backends]
[('10.244.1.3', 8080, Fraction(1, 2)), ('10.244.2.2', 8080, Fraction(1, 2))]

A round trip into a node is dear, so all dumps can be had in one (what is absent gives an empty text):

>>> outputs = proxy.split(host.run(proxy.script()).stdout)      # name -> text, for every mode at once

What should be, from `kubectl get services,endpointslices -A -o json`, and every disagreement:

>>> from lab.proxy.slices import Node, expect
>>> from lab.proxy.compare import compare
>>> node = Node.of("node01", outputs["ip-addr"], address="192.168.1.201", pod_cidr="10.244.0.0/16")
>>> wanted = expect("nftables", services, endpointslices, node, scheduler="rr")
>>> compare(wanted, rules, node=node.name)                      # [] when rules == slices
[]
>>> str(compare(...)[0])
'node02 nftables: default/mytest-svc 10.96.31.7:80/TCP backends: expected …, seen … in: <raw rule>'

What another mode left behind (the same outputs): a list of sentences, empty when clean:

>>> from lab.proxy.residue import residue
>>> residue("iptables", outputs)
['ipvs: device kube-ipvs0 exists with 6 addresses', 'ipvs: virtual server TCP 10.96.0.1:443', …]

NodePorts appear once for each address that serves them: Frontend("192.168.1.201", 30000, "TCP"). Rules that a
reader does not know raise `UnrecognisedRule` with the raw text. A table or jump that is missing is no
exception: it is in `rules.faults`, and `compare` reports it, so that a caller may poll.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module

from lab.proxy.commands import COMMANDS, script, split
from lab.proxy.model import (
    Backend,
    Frontend,
    Kind,
    Masquerade,
    NodeRules,
    Refusal,
    ServiceRules,
    UnreadableDump,
    UnrecognisedRule,
)
from lab.proxy.reader import Reader

__all__ = [
    "COMMANDS",
    "READERS",
    "Backend",
    "Frontend",
    "Kind",
    "Masquerade",
    "NodeRules",
    "Reader",
    "Refusal",
    "ServiceRules",
    "UnreadableDump",
    "UnrecognisedRule",
    "read",
    "script",
    "split",
]

# A new proxy mode is one file and one line here.
_CLASSES = {
    "iptables": "lab.proxy.iptables:IptablesReader",
    "ipvs": "lab.proxy.ipvs:IpvsReader",
    "nftables": "lab.proxy.nftables:NftablesReader",
}


class _Readers(Mapping[str, Reader]):
    """Mode to reader; a reader's module is loaded when it is asked for."""

    def __getitem__(self, mode: str) -> Reader:
        module, _, name = _CLASSES[mode].partition(":")
        reader: Reader = getattr(import_module(module), name)()
        return reader

    def __iter__(self) -> Iterator[str]:
        return iter(_CLASSES)

    def __len__(self) -> int:
        return len(_CLASSES)


READERS: Mapping[str, Reader] = _Readers()


def read(mode: str, outputs: Mapping[str, str]) -> NodeRules:
    """Read a node's rules from what `READERS[mode].commands` printed on it.

    Raises:
        UnrecognisedRule: a rule of kube-proxy's has a piece that is not known.
        UnreadableDump: an output is missing or is not such a dump.
    """
    return READERS[mode].read(outputs)
