"""Which Services are the user's own, and which traits of them a change may be about."""

from __future__ import annotations

from typing import Any

import pytest

from lab.migrate.services import OwnService, concerned, own

DEFAULT = {"metadata": {"name": "default", "labels": {"kubernetes.io/metadata.name": "default"}}}


def service(name: str = "web", namespace: str = "default", **spec: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"clusterIP": "10.96.0.9", "ports": [{"port": 80}], **spec},
    }


def test_those_of_suites_and_of_namespaces_on_their_way_out_are_not_the_users() -> None:
    suites = {
        "metadata": {"name": "conformance-x", "labels": {"app.kubernetes.io/managed-by": "kube-service-lab"}}
    }
    going = {"metadata": {"name": "going", "deletionTimestamp": "2026-11-28T10:00:00Z"}}
    theirs = [service(namespace=name) for name in ("default", "conformance-x", "going")]

    assert [one.name for one in own(theirs, [DEFAULT, suites, going])] == ["default/web"]


@pytest.mark.parametrize(
    "spec", [{"clusterIP": "None"}, {"type": "ExternalName", "clusterIP": ""}, {"clusterIP": None}]
)
def test_what_kube_proxy_does_not_serve_is_left_out(spec: dict[str, Any]) -> None:
    assert own([service(**spec)], [DEFAULT]) == []


def test_another_proxy_serves_it() -> None:
    found = service()
    found["metadata"]["labels"] = {"service.kubernetes.io/service-proxy-name": "other"}
    assert own([found], [DEFAULT]) == []


@pytest.mark.parametrize(
    ("behaviour", "spec", "because"),
    [
        (
            "nodeport-on-loopback",
            {"ports": [{"nodePort": 30000}, {"nodePort": 30001}]},
            "nodePort 30000, 30001",
        ),
        ("session-affinity-timeout", {"sessionAffinity": "ClientIP"}, "sessionAffinity ClientIP, 10800 s"),
        (
            "session-affinity-timeout",
            {
                "sessionAffinity": "ClientIP",
                "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 60}},
            },
            "sessionAffinity ClientIP, 60 s",
        ),
        ("external-ip-on-node", {"externalIPs": ["192.0.2.1"]}, "external address 192.0.2.1"),
        (
            "source-ranges-blocked",
            {"loadBalancerSourceRanges": ["10.0.0.0/8"]},
            "loadBalancerSourceRanges 10.0.0.0/8",
        ),
        ("external-local-no-local-pod", {"externalTrafficPolicy": "Local"}, "externalTrafficPolicy Local"),
        ("internal-local-no-local-pod", {"internalTrafficPolicy": "Local"}, "internalTrafficPolicy Local"),
        ("choice", {}, "ClusterIP 10.96.0.9"),
    ],
)
def test_a_change_is_about_those_that_ask_for_it(behaviour: str, spec: dict[str, Any], because: str) -> None:
    plain = service("plain", sessionAffinity="None", externalTrafficPolicy="Cluster")
    found = concerned([OwnService.of(plain), OwnService.of(service(**spec))], behaviour, "")

    told = {one.service: one.because for one in found}
    assert told.pop("default/web") == because
    assert set(told) == ({"default/plain"} if behaviour == "choice" else set())


def test_a_load_balancers_address_is_an_external_one() -> None:
    found = service(type="LoadBalancer")
    found["status"] = {"loadBalancer": {"ingress": [{"ip": "192.0.2.9"}]}}
    (one,) = concerned([OwnService.of(found)], "external-ip-on-node", "")
    assert one.because == "external address 192.0.2.9"


@pytest.mark.parametrize(("target", "of"), [("NodePort, other nodes", 1), ("ClusterIP", 2), ("pod IP", 2)])
def test_a_target_that_must_be_alike_is_about_those_it_is_called_after(target: str, of: int) -> None:
    both = [OwnService.of(service(ports=[{"nodePort": 30000}])), OwnService.of(service("inner"))]
    assert len(concerned(both, "", target)) == of
