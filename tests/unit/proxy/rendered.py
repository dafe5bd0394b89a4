"""Writes a `NodeRules` down as each mode's commands would dump it: the readers' inverse, for round trips.

Only ClusterIPs and NodePorts of policy Cluster; the captured dumps have the rest.
"""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

from lab.proxy import Frontend, Kind, NodeRules, ServiceRules
from lab.proxy.iptables_owned import IPTABLES_JUMPS, IPVS_JUMPS

ADDRESSES = ("10.244.1.1", "127.0.0.1", "192.168.1.201")
Json = dict[str, Any]


def ip_addr(bound: frozenset[str] = frozenset()) -> str:
    links = [{"ifname": "lo", "addr_info": [{"family": "inet", "local": ip} for ip in ADDRESSES]}]
    if bound:
        links.append({"ifname": "kube-ipvs0", "addr_info": [{"family": "inet", "local": ip} for ip in bound]})
    return json.dumps(links)


def hashed(*parts: object) -> str:
    """Sixteen letters and digits, as in the names of kube-proxy's chains."""
    return base64.b32encode(hashlib.sha256(repr(parts).encode()).digest()).decode()[:16]


def once(rules: NodeRules) -> list[tuple[Frontend, ServiceRules]]:
    """Each ClusterIP, and each NodePort on one of its addresses only."""
    ports: dict[tuple[int, str], tuple[Frontend, ServiceRules]] = {}
    for front, rule in rules.services.items():
        if rule.kind is Kind.NODEPORT:
            ports.setdefault((front.port, front.protocol), (front, rule))
    return [(f, r) for f, r in rules.services.items() if r.kind is Kind.CLUSTER] + list(ports.values())


def iptables(rules: NodeRules) -> dict[str, str]:
    nat, refused = [], []
    for front, rule in once(rules):
        low, cluster = front.protocol.lower(), rule.kind is Kind.CLUSTER
        match = f'-p {low} -m comment --comment "{{}}" -m {low} --dport {front.port}'
        where = f"-d {front.ip}/32 " if cluster else ""
        svc, ext = (f"KUBE-{kind}-{hashed(rule.service, low)}" for kind in ("SVC", "EXT"))
        if rule.refusal:
            local = "" if cluster else "-m addrtype --dst-type LOCAL "
            chain = "KUBE-SERVICES" if cluster else "KUBE-EXTERNAL-SERVICES"
            said = match.format(f"{rule.service} has no endpoints").replace(f"-m {low}", f"{local}-m {low}")
            refused.append(f"-A {chain} {where}{said} -j REJECT --reject-with icmp-port-unreachable")
            continue
        if not cluster:
            nat.append(f"-A KUBE-NODEPORTS {match.format(rule.service)} -j {ext}")
            nat.append(f"-A {ext} -j KUBE-MARK-MASQ")
            nat.append(f"-A {ext} -j {svc}")
            continue
        said = match.format(f"{rule.service} cluster IP")
        nat.append(f"-A KUBE-SERVICES {where}{said} -j {svc}")
        nat.append(f"-A {svc} ! -s 10.244.0.0/16 {where}{said} -j KUBE-MARK-MASQ")
        seps = [f"KUBE-SEP-{hashed(rule.service, low, backend.endpoint)}" for backend in rule.backends]
        recent = "-m recent --{} --name {} --mask 255.255.255.255 --rsource"
        for sep in seps if rule.affinity else ():
            found = recent.format(f"rcheck --seconds {rule.affinity} --reap", sep)
            nat.append(f"-A {svc} {found} -j {sep}")
        for number, sep in enumerate(seps):
            left = len(seps) - number
            # As the kernel gives back what kube-proxy wrote with ten decimals: in 31 bits.
            share = round(float(f"{1 / left:.10f}") * 2**31) / 2**31
            chance = f"-m statistic --mode random --probability {share:.11f} " if left > 1 else ""
            nat.append(f"-A {svc} {chance}-j {sep}")
        for sep, backend in zip(seps, rule.backends, strict=True):
            noted = recent.format("set", sep) + " " if rule.affinity else ""
            nat.append(f"-A {sep} -s {backend.ip}/32 -j KUBE-MARK-MASQ")
            to = f"--to-destination {backend.ip}:{backend.port}"
            nat.append(f"-A {sep} -p {low} {noted}-m {low} -j DNAT {to}")
    nat.append("-A KUBE-SERVICES -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS")
    return {"iptables-save": tables(nat, refused, IPTABLES_JUMPS), "ip-addr": ip_addr()}


def tables(nat: list[str], filtered: list[str], jumps: tuple[tuple[str, str, str], ...]) -> str:
    shared = [
        "-A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000",
        "-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN",
        "-A KUBE-POSTROUTING -j MARK --set-xmark 0x4000/0x0",
        "-A KUBE-POSTROUTING -j MASQUERADE --random-fully",
    ]
    lines = []
    for table, rules in (("nat", [*nat, *shared]), ("filter", filtered)):
        into = [f"-A {base} -j {chain}" for name, base, chain in jumps if name == table]
        lines += [f"*{table}", *into, *rules, "COMMIT"]
    return "\n".join(lines) + "\n"


def ipvs(rules: NodeRules) -> dict[str, str]:
    servers, sets = [], ["create KUBE-CLUSTER-IP hash:ip,port", "create KUBE-IPVS-IPS hash:ip"]
    sets += ["create KUBE-LOOP-BACK hash:ip,port,ip"]
    sets += [f"create KUBE-NODE-PORT-{name} bitmap:port" for name in ("TCP", "UDP")]
    sets += ["create KUBE-NODE-PORT-SCTP-HASH hash:ip,port"]
    sets += [f"add KUBE-IPVS-IPS {ip}" for ip in rules.bound_addresses]
    for front, rule in rules.services.items():
        low = front.protocol.lower()
        option = {"TCP": "-t", "UDP": "-u", "SCTP": "--sctp-service"}[front.protocol]
        address = f"{option} {front.ip}:{front.port}"
        kept = f" -p {rule.affinity}" if rule.affinity else ""
        servers.append(f"-A {address} -s {rule.scheduler}{kept}")
        servers += [f"-a {address} -r {backend.ip}:{backend.port} -m -w 1" for backend in rule.backends]
        sets += [f"add KUBE-LOOP-BACK {ip},{low}:{port},{ip}" for ip, port in rule.hairpin]
        if rule.kind is Kind.CLUSTER:
            sets.append(f"add KUBE-CLUSTER-IP {front.ip},{low}:{front.port}")
        elif front.protocol == "SCTP":
            sets.append(f"add KUBE-NODE-PORT-SCTP-HASH {front.ip},sctp:{front.port}")
        else:
            sets.append(f"add KUBE-NODE-PORT-{front.protocol} {front.port}")
    match = "-m set --match-set"
    nat = [
        "-A KUBE-SERVICES -s 127.0.0.0/8 -j RETURN",
        f"-A KUBE-SERVICES ! -s 10.244.0.0/16 {match} KUBE-CLUSTER-IP dst,dst -j KUBE-MARK-MASQ",
        "-A KUBE-SERVICES -m addrtype --dst-type LOCAL -j KUBE-NODE-PORT",
        f"-A KUBE-NODE-PORT -p tcp {match} KUBE-NODE-PORT-TCP dst -j KUBE-MARK-MASQ",
        f"-A KUBE-NODE-PORT -p udp {match} KUBE-NODE-PORT-UDP dst -j KUBE-MARK-MASQ",
        f"-A KUBE-NODE-PORT -p sctp {match} KUBE-NODE-PORT-SCTP-HASH dst,dst -j KUBE-MARK-MASQ",
        f"-A KUBE-POSTROUTING {match} KUBE-LOOP-BACK dst,dst,src -j MASQUERADE",
    ]
    filtered = [
        f"-A KUBE-IPVS-FILTER {match} KUBE-CLUSTER-IP dst,dst -j RETURN",
        f"-A KUBE-IPVS-FILTER -m conntrack --ctstate NEW {match} KUBE-IPVS-IPS dst -j REJECT",
    ]
    return {
        "ipvsadm": "\n".join(servers) + "\n",
        "ipset": "\n".join(sets) + "\n",
        "iptables-save": tables(nat, filtered, IPVS_JUMPS),
        "ip-addr": ip_addr(rules.bound_addresses),
    }
