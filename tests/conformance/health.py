"""What a health check node port says: how a load balancer learns which nodes have pods of the Service.

Source: `pkg/proxy/healthcheck/service_health.go`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from .probing import FromOutside


@dataclass(frozen=True)
class Health:
    """One answer.

    Attributes:
        status: the HTTP status: 200, or 503 where no pod is.
        service: `namespace/name`.
        local_endpoints: the node's own ready pods.
        weight: the header X-Load-Balancing-Endpoint-Weight, which repeats them.
    """

    status: int
    service: str
    local_endpoints: int
    weight: int


def health(outside: FromOutside, address: str, port: int) -> Health:
    """Ask one node from outside.

    Raises:
        AssertionError: it does not answer, or something else than it should.
    """
    url = f"http://{address}:{port}/healthz"
    said = outside.run(f"curl -sS -m 5 -i {url}", timeout=10).replace("\r", "")
    head, _, body = said.partition("\n\n")
    status, *lines = head.splitlines()
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    weight = headers.get("x-load-balancing-endpoint-weight")
    assert weight is not None, f"{url}: no X-Load-Balancing-Endpoint-Weight:\n{said}"
    told = json.loads(body)
    service = "{namespace}/{name}".format_map(told["service"])
    return Health(int(status.split()[1]), service, int(told["localEndpoints"]), int(weight))
