"""Writes a `NodeRules` down as `nft -j list table ip kube-proxy` would, of 1.37 or 1.34 (see `rendered`)."""

from __future__ import annotations

import json
from typing import Any

from rendered import hashed, ip_addr, once

from lab.proxy import Frontend, Kind, NodeRules, ServiceRules
from lab.proxy.nft_base import _HOOKS as HOOKS  # the one list of base chains

Json = dict[str, Any]
MARK = {"mangle": {"key": {"meta": {"key": "mark"}}, "value": {"|": [{"meta": {"key": "mark"}}, 16384]}}}
MARKED = {"&": [{"meta": {"key": "mark"}}, 16384]}
SADDR, DADDR = ({"payload": {"protocol": "ip", "field": field}} for field in ("saddr", "daddr"))
PORT = [{"meta": {"key": "l4proto"}}, {"payload": {"protocol": "th", "field": "dport"}}]
PODS = {"prefix": {"addr": "10.244.0.0", "len": 16}}
REJECT = {"reject": {"type": "icmp", "expr": "port-unreachable"}}
MASQUERADE = {"masquerade": {"flags": "fully-random"}}


def match(left: Json, right: object, sign: str = "==") -> Json:
    return {"match": {"op": sign, "left": left, "right": right}}


def goto(target: str) -> Json:
    return {"goto": {"target": target}}


class Listing:
    """A table in the making."""

    def __init__(self, *, old: bool) -> None:
        self.objects: list[Json] = [{"metainfo": {"version": "1.0.6"}}, {"table": {"name": "kube-proxy"}}]
        self.elements: dict[str, list[Any]] = {}
        self.old = old
        self.mark: Json = {"jump": {"target": "mark-for-masquerade"}} if old else MARK

    def chain(self, name: str, *rules: list[Json], hook: str | None = None) -> None:
        self.objects.append({"chain": {"name": name, **({"hook": hook} if hook else {})}})
        self.objects += [{"rule": {"chain": name, "expr": rule}} for rule in rules]

    def text(self) -> str:
        maps = [{"map": {"name": name, "elem": found}} for name, found in self.elements.items()]
        return json.dumps({"nftables": self.objects + maps})


def nftables(rules: NodeRules, *, old: bool = False) -> dict[str, str]:
    table = Listing(old=old)
    for name, (hook, jumps) in HOOKS.items():
        new = [] if name.startswith("nat-") else [match({"ct": {"key": "state"}}, "new", "in")]
        table.chain(name, *([*new, {"jump": {"target": jump.split()[1]}}] for jump in jumps), hook=hook)
    masquerade = [] if old else [[match(DADDR, "@cluster-ips"), match(SADDR, PODS, "!="), MARK]]
    node_ports = match(DADDR, "@nodeport-ips")
    table.chain(
        "services", *masquerade, [vmap("service-ips", DADDR)], [node_ports, vmap("service-nodeports")]
    )
    table.chain("service-endpoints-check", [vmap("no-endpoint-services", DADDR)])
    table.chain("nodeport-endpoints-check", [node_ports, vmap("no-endpoint-nodeports")])
    table.chain("firewall-check", [vmap("firewall-ips", DADDR)])
    table.chain("cluster-ips-check", [match(DADDR, "@cluster-ips"), REJECT])
    table.chain("reject-chain", [REJECT])
    cleared = {"mangle": {"key": {"meta": {"key": "mark"}}, "value": {"^": MARKED["&"]}}}
    if old:
        table.chain("mark-for-masquerade", [MARK])
        table.chain("masquerading", [match(MARKED, 0), {"return": None}], [cleared], [MASQUERADE])
    else:
        hairpin = match({"concat": [SADDR, DADDR, *PORT]}, "@hairpin-connections")
        translated = match({"ct": {"key": "status"}}, "dnat", "in")
        table.chain(
            "masquerading", [match(MARKED, 0, "!="), cleared, MASQUERADE], [translated, hairpin, MASQUERADE]
        )
        table.elements["hairpin-connections"] = [
            {"concat": [ip, ip, low, port]}
            for ip, port, low in {
                (*end, front.protocol.lower())
                for front, rule in rules.services.items()
                for end in rule.hairpin
            }
        ]
    table.elements["cluster-ips"] = sorted(rules.cluster_ips)
    table.elements["nodeport-ips"] = list(rules.node_port_addresses)
    for front, rule in once(rules):
        service(table, front, rule)
    return {"nft": table.text(), "ip-addr": ip_addr()}


def vmap(name: str, *first: Json) -> Json:
    return {"vmap": {"key": {"concat": [*first, *PORT]}, "data": f"@{name}"}}


def service(table: Listing, front: Frontend, rule: ServiceRules) -> None:
    low, cluster = front.protocol.lower(), rule.kind is Kind.CLUSTER
    name = f"{(rule.service or '').partition(':')[0]}/{low}/{(rule.service or '').partition(':')[2]}"
    full = f"{hashed(name)[:8]}-{name}"
    key = {"concat": [*([front.ip] if cluster else []), low, front.port]}
    kind = "services" if cluster else "nodeports"
    if rule.refusal:
        said = {"elem": {"val": key, "comment": rule.service}}
        table.elements.setdefault(f"no-endpoint-{kind}", []).append([said, goto("reject-chain")])
        return
    if not cluster:
        table.elements.setdefault("service-nodeports", []).append([key, goto(f"external-{full}")])
        table.chain(f"external-{full}", [table.mark], [goto(f"service-{full}")])
        return
    table.elements.setdefault("service-ips", []).append([key, goto(f"service-{full}")])
    first = [match(DADDR, front.ip), match(SADDR, PODS, "!="), table.mark]
    proto = match(PORT[0], low)
    lines = [first] if table.old else []
    ends = {f"{hashed(name, b.endpoint)[:8]}-{name}__{b.ip}/{b.port}": b for b in rule.backends}
    if rule.affinity or table.old:
        for end, backend in ends.items():
            own = [match(SADDR, backend.ip), table.mark]
            noted = {"set": {"op": "update", "elem": SADDR, "set": f"@affinity-{end}"}}
            steps = [[own] if table.old else [], [[noted]] if rule.affinity else []]
            to = [proto, {"dnat": {"addr": backend.ip, "port": backend.port}}]
            table.chain(f"endpoint-{end}", *steps[0], *steps[1], to)
            if rule.affinity:
                table.objects.append({"set": {"name": f"affinity-{end}", "timeout": rule.affinity}})
                lines.append([match(SADDR, f"@affinity-{end}"), goto(f"endpoint-{end}")])
        chosen = [[number, goto(f"endpoint-{end}")] for number, end in enumerate(ends)]
        lines.append([{"vmap": {"key": numgen(len(ends)), "data": {"set": chosen}}}])
    elif len(ends) == 1:
        lines.append([proto, {"dnat": {"addr": rule.backends[0].ip, "port": rule.backends[0].port}}])
    else:
        picked = [[number, {"concat": [b.ip, b.port]}] for number, b in enumerate(rule.backends)]
        lines.append(
            [proto, {"dnat": {"addr": {"map": {"key": numgen(len(ends)), "data": {"set": picked}}}}}]
        )
    table.chain(f"service-{full}", *lines)


def numgen(modulus: int) -> Json:
    return {"numgen": {"mode": "random", "mod": modulus, "offset": 0}}
