"""What the role `metallb` makes of its templates."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from jinja2 import Environment, StrictUndefined

from lab.paths import share

ROLES = share("playbooks") / "roles"
IMAGE = "kube-service-lab.local/metallb:v0.16.1"


def rendered(template: str, **values: object) -> list[dict[str, Any]]:
    """The documents of a template."""
    jinja = Environment(undefined=StrictUndefined, autoescape=False)
    jinja.filters["to_json"] = json.dumps
    text = jinja.from_string((ROLES / template).read_text()).render(values)
    return list(yaml.safe_load_all(text))


def test_the_pool_is_announced() -> None:
    pool, announcement = rendered(
        "metallb/templates/pool.yaml.j2",
        metallb_namespace="metallb-system",
        metallb_addresses="192.168.1.240-192.168.1.250",
    )
    assert pool["spec"]["addresses"] == ["192.168.1.240-192.168.1.250"]
    assert announcement["spec"]["ipAddressPools"] == [pool["metadata"]["name"]]
    assert {one["metadata"]["namespace"] for one in (pool, announcement)} == {"metallb-system"}


@pytest.mark.parametrize("strict", [True, False])
def test_in_ipvs_mode_only_one_node_may_answer_for_an_address(strict: bool) -> None:
    (settings,) = rendered(
        "kube_proxy/templates/configuration.yaml.j2",
        proxy_mode="ipvs",
        pod_cidr="10.244.0.0/16",
        ipvs_scheduler="rr",
        strict_arp=strict,
    )
    assert settings["ipvs"]["strictARP"] is strict


MANIFEST = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: controller, namespace: metallb-system}
spec:
  template:
    spec:
      containers:
        - name: controller
          image: quay.io/metallb/controller:v0
          args: [--port=9120, --log-level=info]
          readinessProbe: {httpGet: {path: /readyz, port: 17472}, initialDelaySeconds: 10, periodSeconds: 10}
          volumeMounts: [{mountPath: /tmp/k8s-webhook-server/serving-certs, name: cert, readOnly: true}]
      volumes: [{name: cert, secret: {secretName: metallb-webhook-cert}}]
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: speaker, namespace: metallb-system}
spec:
  template:
    spec:
      containers:
        - {name: speaker, image: "quay.io/metallb/speaker:v0", args: [--port=9120]}
---
{apiVersion: v1, kind: Secret, metadata: {name: metallb-webhook-cert, namespace: metallb-system}}
---
{apiVersion: v1, kind: Service, metadata: {name: metallb-webhook-service, namespace: metallb-system}}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: {name: metallb-webhook-configuration}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: bgppeers.metallb.io}
spec: {conversion: {strategy: Webhook, webhook: {conversionReviewVersions: [v1beta1]}}, group: metallb.io}
"""


@pytest.mark.skipif(
    shutil.which("kubectl") is None, reason="no kubectl on this host: the labs' test has its own"
)
def test_the_projects_manifest_without_its_webhook_and_by_our_image(tmp_path: Path) -> None:
    (patches,) = rendered(
        "metallb/templates/kustomization.yaml.j2",
        metallb_image=IMAGE,
        metallb_namespace="metallb-system",
        metallb_secret="0123456789",
    )
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(patches))
    (tmp_path / "metallb.yaml").write_text(MANIFEST)
    done = subprocess.run(
        ["kubectl", "kustomize", str(tmp_path)], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    objects = {one["kind"]: one for one in yaml.safe_load_all(done.stdout)}
    assert set(objects) == {"Deployment", "DaemonSet", "CustomResourceDefinition", "Secret"}
    # The speakers' own, by the name that the manifest mounts; the webhook's is gone.
    assert objects["Secret"]["metadata"] == {"name": "memberlist", "namespace": "metallb-system"}
    assert objects["Secret"]["data"] == {"secretkey": "MDEyMzQ1Njc4OQ=="}
    assert objects["CustomResourceDefinition"]["spec"]["conversion"] == {"strategy": "None"}
    for kind, name in (("Deployment", "controller"), ("DaemonSet", "speaker")):
        pod = objects[kind]["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        assert (container["image"], container["command"]) == (IMAGE, [f"/usr/local/bin/{name}"])
        assert "--port=9120" in container["args"]
        # Not even empty: that would be a change each time it is applied.
        assert "volumes" not in pod
        assert "volumeMounts" not in container
    pod = objects["Deployment"]["spec"]["template"]["spec"]
    assert "--webhook-mode=disabled" in pod["containers"][0]["args"]
    assert pod["containers"][0]["readinessProbe"]["httpGet"]["path"] == "/readyz"
