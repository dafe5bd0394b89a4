"""What becomes of a client's connections, in sentences."""

from __future__ import annotations

from collections.abc import Iterator

from lab.explain import words
from lab.explain.explanation import Explanation
from lab.explain.walk import Outcome, Walk
from lab.proxy.model import Kind, Refusal

_REFUSED = {
    Refusal.REJECT: "refused at once (connection refused)",
    Refusal.DROP: "dropped: the client waits in vain",
}


def sentences(told: Explanation, walk: Walk, outcome: Outcome) -> Iterator[str]:
    """One sentence an endpoint or refusal, then what the endpoint sees."""
    for end, share in outcome.ends.items():
        backing = told.behind.get(end)
        yield f"{words.share(share)} to {end[0]}:{end[1]}" + (f" ({backing})" if backing else "")
    for how, share in outcome.refused.items():
        yield f"{words.share(share)} {_REFUSED[how]}"
    if outcome.passed:
        yield f"{words.share(outcome.passed)} passed on: no rule of kube-proxy's is for them"
    if outcome.sticky and len(outcome.ends) > 1:
        yield f"then for {outcome.sticky} s always to the endpoint of the first"
    if outcome.ends:
        yield _source(told, outcome)
    if walk.kind is Kind.CLUSTER and not (outcome.client.local or outcome.client.pod):
        yield "if a route leads the client here at all: ClusterIPs are the cluster's own"


def _source(told: Explanation, outcome: Outcome) -> str:
    if outcome.client.local:
        return "the endpoint sees this node as the client"
    if len(outcome.masqueraded) == len(outcome.ends):
        return f"the endpoint sees {told.node} as the client (masqueraded)"
    if not outcome.masqueraded:
        return f"the endpoint sees the client's own address, {outcome.client.address}"
    own = ", ".join(f"{ip}:{port}" for ip, port in sorted(outcome.masqueraded))
    return f"the endpoint sees the client's own address; from {own} it is masqueraded (hairpin)"
