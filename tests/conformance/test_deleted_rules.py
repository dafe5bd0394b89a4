"""A node's rules are deleted, as by a firewall's reload: what kube-proxy does about that in its mode."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Mapping

import pytest

from lab.any_cluster import PROBER

from .declared import declared
from .nodes import Node
from .probing import FromNode, Outcome
from .rulebook import Rulebook
from .stage import Published, Stage
from .waiting import wait_until

pytestmark = pytest.mark.timeout(400)

SYNC_PERIOD = 30.0
"""Seconds: kube-proxy's syncPeriod where nobody sets it, after which it looks again, or tries again."""
SLACK = 30.0
"""Seconds on top for a busy host."""
HINT = "KUBE-IPTABLES-HINT"
"""kubelet's chain, by which a CNI tells the flavour of iptables."""
KUBELETS_PERIOD = 60.0
"""Seconds after which kubelet looks for its KUBE-KUBELET-CANARY."""
FLUSH = r"""
for table in mangle nat filter; do
  {
    echo "*$table"
    iptables-save -t $table | sed -n 's/^:\(KUBE-[^ ]*\) .*/:\1 - [0:0]/p'
    iptables-save -t $table | sed -n '/^-A KUBE-/!s/^-A \(.* -j KUBE-.*\)/-D \1/p'
    iptables-save -t $table | sed -n 's/^:\(KUBE-[^ ]*\) .*/-X \1/p'
    echo COMMIT
  } | iptables-restore --noflush --wait 10 || exit 1
done
"""
"""All chains KUBE-*, kubelet's too, and the jumps to them: as upstream's test deletes them."""
DELETE: Mapping[str, str] = {
    "iptables": FLUSH,
    "ipvs": f"ipvsadm --clear; ip link delete kube-ipvs0; {FLUSH}",
    "nftables": f"nft delete table ip kube-proxy; {FLUSH}",
}


@pytest.fixture
def service(stage: Stage, nodes: tuple[Node, ...]) -> Published:
    """A Service of one pod that every node has programmed."""
    labels = {"run": secrets.token_hex(4)}
    pod = stage.pod(labels, node=nodes[-2].name)
    found = stage.service(labels)
    stage.settle(found, {pod})
    return found


def answers(node: Node, service: Published) -> bool:
    """Whether the ClusterIP answers on that node."""
    (outcome,) = FromNode(node).probe(service.url, count=1)
    return outcome.answered == 1


@pytest.mark.behaviour("rules-deleted")
def test_deleted_rules_come_back_as_declared(
    service: Published, stage: Stage, nodes: tuple[Node, ...], rulebook: Rulebook, mode: str, version: str
) -> None:
    """Within kube-proxy's own period, or only after the next change of a Service; kubelet's in any case."""
    node = nodes[-1]
    entry = declared("rules-deleted", mode=mode, version=version)
    assert answers(node, service)
    before = rulebook.objects()
    # In one script: where much changes kube-proxy may be back in a second.
    report = json.loads(node.run(f"{DELETE[mode]}\n{PROBER} --timeout 1s {service.url}"))
    outcome = Outcome.from_json(node.name, report)
    assert not outcome.answered, f"{outcome}: these rules are not what it serves by"
    if entry.expected == "after a change":
        time.sleep(SYNC_PERIOD + 5)
        # Somebody else's change is one as well.
        if answers(node, service):
            assert rulebook.objects() != before, f"{entry}: they came back by themselves"
        stage.service({"run": "nobody"})
    wait_until(
        f"{node.name} to serve again",
        lambda: answers(node, service),
        timeout=2 * SYNC_PERIOD + SLACK,
        interval=1,
    )
    rulebook.settle()
    wait_until(
        f"kubelet's {HINT} on {node.name}",
        lambda: f":{HINT} " in node.run("iptables-save -t mangle"),
        timeout=KUBELETS_PERIOD + SLACK,
        interval=2,
    )
