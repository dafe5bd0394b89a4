"""The rules as the walk shows them, found in the raw dumps without the readers: a second opinion."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .cluster import Endpoint, Port
from .rulebook import Dumps


@dataclass(frozen=True)
class Looked:
    """What is looked for on one node."""

    node: str
    texts: Dumps
    port: Port
    endpoints: Sequence[Endpoint]
    node_address: str
    pod_cidr: str
    scheduler: str

    def one(self, what: str, found: Sequence[str]) -> str:
        """The only match, or a failure that names the node."""
        assert len(found) == 1, f"{self.node}: {len(found)} times {what}: {found}"
        return found[0]


def iptables(looked: Looked) -> None:
    """KUBE-SERVICES → KUBE-SVC (1/3, 1/2, rest) → KUBE-SEP (hairpin mark, DNAT); KUBE-NODEPORTS → EXT."""
    text, port = looked.texts["iptables-save"], looked.port
    lines = [line for line in text.splitlines() if line.startswith("-A ")]

    def rules(chain: str) -> list[str]:
        # Comments may stand anywhere in a rule; they are no part of what it does.
        plain = (re.sub(r' -m comment --comment ("[^"]*"|\S+)', "", line) for line in lines)
        return [line for line in plain if line.startswith(f"-A {chain} ")]

    def target(what: str, chain: str, pattern: str) -> str:
        hits = [found[1] for line in rules(chain) if (found := re.fullmatch(f"-A {chain} {pattern}", line))]
        return looked.one(f"{what} in {chain} of {rules(chain)}", hits)

    to_ip = rf"-d {re.escape(port.cluster_ip)}/32 -p tcp -m tcp --dport {port.number}"
    service = target("jump of the ClusterIP", "KUBE-SERVICES", rf"{to_ip} -j (KUBE-SVC-\S+)")
    target("mark of outside sources", service, rf"! -s {looked.pod_cidr} {to_ip} -j (KUBE-MARK-MASQ)")
    jumps = [line for line in rules(service) if " -j KUBE-SEP-" in line]
    assert len(jumps) == len(looked.endpoints), f"{looked.node}: {jumps}"
    backends = []
    for left, jump in zip(range(len(jumps), 0, -1), jumps, strict=True):
        # Each rule takes its share of what the rules before it left: 1/3, 1/2, and the last all the rest.
        chance = rf"-m statistic --mode random --probability {1 / left:.6f}\d* " if left > 1 else ""
        assert re.fullmatch(rf"-A {service} {chance}-j KUBE-SEP-\S+", jump), (
            f"{looked.node}: {left} left: {jump}"
        )
        endpoint = jump.rpartition(" ")[2]
        destination = target("DNAT", endpoint, r"-p tcp -m tcp -j DNAT --to-destination (\S+)")
        pod = destination.partition(":")[0]
        target("hairpin mark", endpoint, rf"-s {re.escape(pod)}/32 -j (KUBE-MARK-MASQ)")
        backends.append(destination)
    assert sorted(backends) == sorted(f"{ip}:{number}" for ip, number in looked.endpoints), looked.node
    external = target(
        "jump of the NodePort",
        "KUBE-NODEPORTS",
        rf"(?:-d \S+ )?-p tcp -m tcp --dport {port.node_port} -j (KUBE-EXT-\S+)",
    )
    target("jump to the backends", external, rf"-j ({service})")
    target("mark of all NodePort traffic", external, r"-j (KUBE-MARK-MASQ)")


def ipvs(looked: Looked) -> None:
    """Virtual servers for the ClusterIP and the NodePort on this node; real servers Masq, weight 1."""
    lines = looked.texts["ipvsadm"].splitlines()

    def real_servers(kind: str, address: str) -> list[str]:
        head = f"-A -{kind} {address} -s {looked.scheduler}"
        looked.one(f"virtual server {head}", [line for line in lines if line == head])
        return sorted(line for line in lines if line.startswith(f"-a -{kind} {address} "))

    served = [
        f"{looked.port.cluster_ip}:{looked.port.number}",
        f"{looked.node_address}:{looked.port.node_port}",
    ]
    for address in served:
        wanted = sorted(f"-a -t {address} -r {ip}:{number} -m -w 1" for ip, number in looked.endpoints)
        assert real_servers("t", address) == wanted, looked.node


def nftables(looked: Looked) -> None:
    """The service map, the numgen map over the endpoints, and the nodeport map."""
    items = [next(iter(item.items())) for item in json.loads(looked.texts["nft"])["nftables"]]
    maps = {body["name"]: body for kind, body in items if kind == "map"}
    rules = [body for kind, body in items if kind == "rule"]

    def goto(name: str, key: list[Any]) -> str:
        hits = [verdict for wanted, verdict in maps[name].get("elem", []) if wanted["concat"] == key]
        return looked.one(f"{key} in map {name}", [verdict["goto"]["target"] for verdict in hits])

    def statements(chain: str) -> list[Mapping[str, Any]]:
        return [statement for rule in rules if rule["chain"] == chain for statement in rule["expr"]]

    service = goto("service-ips", [looked.port.cluster_ip, "tcp", looked.port.number])
    # Since 1.36 the numgen map gives the address itself; before, it led to a chain an endpoint.
    maps_of = [statement["vmap"] for statement in statements(service) if "vmap" in statement]
    maps_of += [
        statement["dnat"]["addr"]["map"]
        for statement in statements(service)
        if isinstance(statement.get("dnat", {}).get("addr"), dict)
    ]
    choices = [found for found in maps_of if "numgen" in found["key"]]
    assert len(choices) == 1, f"{looked.node}: {len(choices)} numgen maps in {service}"
    numgen = choices[0]["key"]["numgen"]
    assert (numgen["mode"], numgen["mod"]) == ("random", len(looked.endpoints)), f"{looked.node}: {numgen}"
    slots = dict(choices[0]["data"]["set"])
    assert sorted(slots) == list(range(len(looked.endpoints))), f"{looked.node}: {slots}"
    backends = []
    for end in slots.values():
        if "concat" not in end:
            chain = end["goto"]["target"]
            (dnat,) = (statement["dnat"] for statement in statements(chain) if "dnat" in statement)
            backends.append((dnat["addr"], dnat["port"]))
        else:
            backends.append(tuple(end["concat"]))
    assert sorted(backends) == sorted(looked.endpoints), looked.node
    external = goto("service-nodeports", ["tcp", looked.port.node_port])
    assert {"goto": {"target": service}} in statements(external), f"{looked.node}: {external} leads elsewhere"


WALKS: Mapping[str, Callable[[Looked], None]] = {"iptables": iptables, "ipvs": ipvs, "nftables": nftables}
