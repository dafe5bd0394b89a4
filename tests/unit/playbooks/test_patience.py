"""kubeadm's configuration for slow machines: every wait that a setting stretches is as long as it says."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from jinja2 import Environment, StrictUndefined

from lab.paths import share

ROLE = share("playbooks") / "roles/control_plane"
ELSEWHERE = {
    "admin_kubeconfig": "/etc/kubernetes/admin.conf",
    "api_server_cert_sans": [],
    "bootstrap_token": "abcdef.0123456789abcdef",
    "cluster_dns": "10.96.0.10",
    "control_plane_address": "192.168.1.200",
    "coredns_image_tag": "1",
    "etcd_image_tag": "1",
    "image_repository": "example",
    "inventory_hostname": "master",
    "kubernetes_version": "1.37.2",
    "lab_dir": "/etc/kube-service-lab",
    "node_address": "192.168.1.200",
    "pod_cidr": "10.244.0.0/16",
    "role_path": str(ROLE),
    "service_cidr": "10.96.0.0/12",
}


def kubeadm(control_plane_timeout: int) -> dict[str, Any]:
    """The documents of kubeadm's configuration by their kind."""
    jinja = Environment(undefined=StrictUndefined, autoescape=False)
    jinja.filters |= {"to_json": json.dumps, "unique": lambda found: list(dict.fromkeys(found))}
    jinja.globals["lookup"] = lambda *_: "kind: KubeProxyConfiguration"
    values = {**ELSEWHERE, "control_plane_timeout": control_plane_timeout}
    for name, value in yaml.safe_load((ROLE / "defaults/main.yml").read_text()).items():
        values[name] = jinja.from_string(value).render(values) if isinstance(value, str) else value
    text = jinja.from_string((ROLE / "templates/init.yaml.j2").read_text()).render(values)
    return {document["kind"]: document for document in yaml.safe_load_all(text)}


@pytest.mark.parametrize(("given", "election"), [(30, 1000), (240, 1000), (1800, 7500), (3600, 15000)])
def test_what_is_waited_for_the_control_plane_is_waited_by_etcd_too(given: int, election: int) -> None:
    documents = kubeadm(given)
    assert set(documents["InitConfiguration"]["timeouts"].values()) == {f"{given}s"}
    said = {
        one["name"]: one["value"] for one in documents["ClusterConfiguration"]["etcd"]["local"]["extraArgs"]
    }
    assert said == {"election-timeout": str(election), "heartbeat-interval": str(election // 10)}
    # etcd refuses more, and less than five heartbeats.
    assert 1000 <= election <= 50000
