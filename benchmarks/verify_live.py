"""How long `lab verify` takes on a running lab with many Services (`benchmarks/verify --lab NAME`).

Makes Services without selectors and EndpointSlices of ten endpoints each in a namespace of its own, waits
until `lab verify` agrees that every node has programmed them, and then times `lab verify --no-traffic` as a
whole command: API, dumps of every node, models, comparison.
The namespace is removed at the end, whatever happens.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from lightkube import Client, KubeConfig
from lightkube.models.core_v1 import ServicePort, ServiceSpec
from lightkube.models.discovery_v1 import Endpoint, EndpointConditions, EndpointPort
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import Namespace, Service
from lightkube.resources.discovery_v1 import EndpointSlice

ENDPOINTS = 10
NAMESPACE = "verify-benchmark"
LAB = str(Path(sys.executable).with_name("lab"))
PROGRAMMED = 600.0
"""Seconds that kube-proxy may take for all of them."""


def main(lab: str, sizes: list[int]) -> None:
    """Time every size on the lab as it is, in its mode."""
    path = subprocess.run(
        [LAB, "kubeconfig", "--name", lab, "--path"], check=True, capture_output=True, text=True
    )
    client = Client(config=KubeConfig.from_file(path.stdout.strip()), trust_env=False)
    with namespace(client):
        there = 0
        print(f"{'services':>9}{'programmed s':>14}{'verify s':>10}  (median of 3)", flush=True)
        for size in sizes:
            begun = time.monotonic()
            with ThreadPoolExecutor(8) as pool:
                list(pool.map(lambda number: create(client, number), range(there, size)))
            there = size
            while verify(lab) is None:
                if time.monotonic() - begun > PROGRAMMED:
                    raise SystemExit(f"lab verify did not agree within {PROGRAMMED:g} s of {size} Services")
            programmed = time.monotonic() - begun
            taken = [seconds for _ in range(3) if (seconds := verify(lab)) is not None]
            if len(taken) < 3:
                raise SystemExit(f"lab verify disagreed after it had agreed with {size} Services")
            print(f"{size:>9}{programmed:>14.1f}{statistics.median(taken):>10.1f}", flush=True)


def verify(lab: str) -> float | None:
    """Seconds of one `lab verify`, or None if something disagrees, which is then on stderr."""
    begun = time.monotonic()
    done = subprocess.run(
        [LAB, "verify", "--name", lab, "--no-traffic", "--quiet"], capture_output=True, text=True, check=False
    )
    if done.returncode:
        print(done.stdout.strip()[:400] or done.stderr.strip()[:400], file=sys.stderr)
    return None if done.returncode else time.monotonic() - begun


def create(client: Client, number: int) -> None:
    """One Service with a NodePort, every fifth of them, and its EndpointSlice."""
    name = f"svc-{number}"
    kind = "ClusterIP" if number % 5 else "NodePort"
    ports = [ServicePort(name="http", port=80, targetPort=8080)]
    client.create(
        Service(metadata=ObjectMeta(name=name, namespace=NAMESPACE), spec=ServiceSpec(ports=ports, type=kind))
    )
    endpoints = [
        Endpoint(
            addresses=[f"10.244.{place % 3}.{(number * ENDPOINTS + place) % 200 + 50}"],
            conditions=EndpointConditions(ready=True),
        )
        for place in range(ENDPOINTS)
    ]
    labels = {"kubernetes.io/service-name": name}
    client.create(
        EndpointSlice(
            metadata=ObjectMeta(name=name, namespace=NAMESPACE, labels=labels),
            addressType="IPv4",
            endpoints=endpoints,
            ports=[EndpointPort(name="http", port=8080, protocol="TCP")],
        )
    )


@contextmanager
def namespace(client: Client) -> Iterator[None]:
    """A namespace for as long as the context lasts, and the wait until it is gone."""
    client.create(Namespace(metadata=ObjectMeta(name=NAMESPACE)))
    try:
        yield
    finally:
        client.delete(Namespace, NAMESPACE)
        deadline = time.monotonic() + PROGRAMMED
        while any(found.metadata and found.metadata.name == NAMESPACE for found in client.list(Namespace)):
            if time.monotonic() > deadline:
                raise SystemExit(f"namespace {NAMESPACE} was not gone within {PROGRAMMED:g} s")
            time.sleep(1)


if __name__ == "__main__":
    main(sys.argv[1], [int(word) for word in sys.argv[2:]] or [1000])
