"""What lightkube cannot ask of the API, by `kubectl --raw`: a watch of what is past, and deletecollection."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from .cluster import Cluster

WATCHED = 20
"""Seconds after which the API ends a watch; it tells what is past at once."""
Told = list[tuple[str, dict[str, Any]]]
"""Events of a watch: `ADDED`, `MODIFIED` or `DELETED`, and the object."""


@dataclass(frozen=True)
class Collection:
    """The objects of one kind in a namespace that have these labels."""

    cluster: Cluster
    namespace: str
    plural: str
    """As in the API's paths: `services`."""
    labels: Mapping[str, str]

    def version(self) -> str:
        """The collection's resourceVersion now, for `told_since`."""
        listed = json.loads(self._kubectl("get", limit=1).stdout)
        return str(listed["metadata"]["resourceVersion"])

    def told_since(self, version: str) -> Told:
        """What a watch tells since that resourceVersion, up to the first object that is deleted."""
        asked = self._words("get", watch=1, resourceVersion=version, timeoutSeconds=WATCHED)
        told: Told = []
        with subprocess.Popen(asked, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            for line in process.stdout:
                event = json.loads(line)
                told.append((event["type"], event["object"]))
                if event["type"] == "DELETED":
                    break
            process.terminate()
        return told

    def delete(self) -> None:
        """All of them by one DELETE, as no `kubectl delete` does it without `--raw`."""
        self._kubectl("delete")

    def _words(self, verb: str, **asked: str | int) -> list[str]:
        selector = ",".join(f"{key}={value}" for key, value in self.labels.items())
        path = f"/api/v1/namespaces/{self.namespace}/{self.plural}"
        query = urlencode({"labelSelector": selector, **asked})
        cluster = self.cluster
        return [str(cluster.kubectl), f"--kubeconfig={cluster.kubeconfig}", verb, "--raw", f"{path}?{query}"]

    def _kubectl(self, verb: str, **asked: str | int) -> subprocess.CompletedProcess[str]:
        words = self._words(verb, **asked)
        done = subprocess.run(words, capture_output=True, text=True, timeout=30, check=False)
        assert done.returncode == 0, f"{words}: {done.stderr}"
        return done
