"""Node ports that a test asks for, which no other test can be given meanwhile."""

from __future__ import annotations

from .cluster import Cluster
from .worker import share

RANGE = range(30000, 32768)
"""The API server's `--service-node-port-range`, by default."""
STATIC = RANGE[:86]
"""Those that the API gives to nobody of its own accord, as long as it has others.

Source: KEP-3668, "Reserve NodePorts": min(max(16, 2768 / 32), 128) of them.
"""


def draw(cluster: Cluster) -> int:
    """The first node port of this process's share that no Service has: 30000, where there is but one.

    Once its Service is gone nobody else gets it, so that a test may see that nothing answers there.
    """
    taken = {port.node_port for port in cluster.ports()}
    return next(number for number in share(STATIC) if number not in taken)
