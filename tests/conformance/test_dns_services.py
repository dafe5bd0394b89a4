"""DNS of Services: records of normal and headless ones by each of their names, and how they follow change."""

from __future__ import annotations

import secrets
from collections.abc import Collection
from functools import partial
from ipaddress import ip_address

import pytest

from .asking import DOMAIN, KNOWN, Answer, ask
from .named import ALL, EARLY, HEADLESS, LABELS, NORMAL, READY, Named, put_up
from .probing import Client, FromPod
from .stage import Stage
from .waiting import wait_until
from .workload import TARGET_PORT


@pytest.fixture(scope="module")
def named(stage: Stage) -> Named:
    """What this file's tests look up; none of them changes it."""
    return put_up(stage)


@pytest.fixture(scope="module")
def guest(named: Named) -> FromPod:
    """The ordinary pod that asks."""
    return named.stage.client(named.guest)


@pytest.fixture(params=["pod", "hostNetwork pod"])
def asker(request: pytest.FixtureRequest, named: Named) -> FromPod:
    """Each kind of pod that asks."""
    return named.stage.client(named.guest if request.param == "pod" else named.on_host)


def found_soon(client: Client, question: str, what: str, wanted: Answer | set[str]) -> None:
    """Until a question has this answer, or an answer with exactly this data."""

    def seen() -> bool:
        (answer,) = ask(client, question).values()
        data = {data for _, data in answer.records}
        assert (answer if isinstance(wanted, Answer) else data) == wanted, str(answer)
        return True

    wait_until(what, seen, timeout=KNOWN, interval=1)


@pytest.mark.behaviour("dns-service-records")
def test_normal_service_has_its_cluster_ip_and_its_ports(named: Named, guest: FromPod) -> None:
    name = named.full(NORMAL)
    found = ask(
        guest,
        f"{name} A",
        f"{name} AAAA",
        f"_http._tcp.{name} SRV",
        f"_ask._udp.{name} SRV",
        f"_http._udp.{name} SRV",
        options="+tcp",
    )
    cluster_ip = named.normal.cluster_ip
    assert found[f"{name} A"] == Answer("NOERROR", (("A", cluster_ip),))
    assert found[f"{name} AAAA"] == Answer("NOERROR", ()), "no second family here"
    assert found[f"_http._tcp.{name} SRV"].services == {(80, name)}
    assert found[f"_ask._udp.{name} SRV"].services == {(5300, name)}
    assert found[f"_http._udp.{name} SRV"].status == "NXDOMAIN", "no port of that name and protocol"


@pytest.mark.behaviour("dns-headless-records")
@pytest.mark.parametrize(("service", "hosts"), [(HEADLESS, READY), (EARLY, ALL)])
def test_headless_service_has_the_addresses_of_its_endpoints(
    named: Named, guest: FromPod, service: str, hosts: Collection[str]
) -> None:
    """The ready ones; with publishNotReadyAddresses all of them. Its ports are the pods' own."""
    name = named.full(service)
    found_soon(guest, f"{name} A", f"{name} to have the addresses of {hosts}", named.ips(hosts))
    (srv,) = ask(guest, f"_http._tcp.{name} SRV").values()
    assert {port for port, _ in srv.services} == {TARGET_PORT}, srv
    targets = ask(guest, *(f"{target} A" for _, target in srv.services))
    assert {ip for answer in targets.values() for ip in answer.of("A")} == named.ips(hosts), targets
    assert all(len(answer.records) == 1 for answer in targets.values()), targets


@pytest.mark.behaviour("dns-headless-records")
def test_headless_service_follows_its_endpoints(named: Named, guest: FromPod) -> None:
    service = named.stage.service({**LABELS, "host": "first"}, clusterIP="None")
    question = f"{named.full(service.name)} A"
    for host in READY:
        service.patch(selector={**LABELS, "host": host})
        found_soon(guest, question, f"{service.name} to have the address of {host} alone", named.ips([host]))
    service.delete()
    found_soon(guest, question, f"the name of the deleted {service.name} to go", Answer("NXDOMAIN", ()))


@pytest.mark.behaviour("dns-several-endpointslices")
def test_service_of_several_endpointslices(named: Named, guest: FromPod) -> None:
    """No selector: the slices are made by hand, each with an address and a port of its own."""
    service = named.stage.service(None, clusterIP="None")
    wanted = {}
    for host, (port, number) in zip(READY, (("http", 8080), ("https", 8443)), strict=True):
        labels = {"kubernetes.io/service-name": service.name}
        (ip,) = named.ips([host])
        named.stage.apply(
            "discovery.k8s.io/v1",
            "EndpointSlice",
            f"{service.name}-{host}",
            {
                "addressType": "IPv4",
                "endpoints": [{"addresses": [ip], "conditions": {"ready": True}, "hostname": host}],
                "ports": [{"name": port, "port": number, "protocol": "TCP"}],
            },
            labels=labels,
        )
        wanted[f"_{port}._tcp.{named.full(service.name)} SRV"] = {
            (number, f"{host}.{named.full(service.name)}")
        }
    found_soon(guest, f"{named.full(service.name)} A", "the addresses of both slices", named.ips(READY))
    found = ask(guest, *wanted)
    assert {question: answer.services for question, answer in found.items()} == wanted


@pytest.mark.behaviour("dns-service-name-with-a-digit")
def test_service_name_that_starts_with_a_digit(named: Named, guest: FromPod) -> None:
    service = named.stage.service(LABELS, name=f"1{secrets.token_hex(3)}")
    name = named.full(service.name)
    found_soon(guest, f"{name} A", f"{name} to be known", {service.cluster_ip})


@pytest.mark.behaviour("dns-partial-names-of-services", "dns-hostnetwork")
def test_partial_names_lead_to_services(named: Named, asker: FromPod) -> None:
    """Records by dig, and traffic by the prober, which resolves names for itself."""
    within = named.stage.namespace
    for service, ips in ((NORMAL, {named.normal.cluster_ip}), (HEADLESS, named.ips())):
        names = (service, f"{service}.{within}", f"{service}.{within}.svc")
        port = 80 if service == NORMAL else TARGET_PORT
        found = ask(asker, *(f"{name} A" for name in names), f"_http._tcp.{names[-1]} SRV")
        assert {question: answer.of("A") for question, answer in found.items() if question.endswith("A")} == {
            f"{name} A": ips for name in names
        }
        assert {number for number, _ in found[f"_http._tcp.{names[-1]} SRV"].services} == {port}
        for outcome in asker.probe(*(f"http://{name}:{port}" for name in names), count=5):
            outcome.assert_all_answered(by=set(READY))


@pytest.mark.behaviour("dns-pod-hostname", "dns-pod-subdomain")
def test_pod_is_found_by_its_hostname_and_subdomain(named: Named, guest: FromPod) -> None:
    """HOSTNAME.SUBDOMAIN is the pod, SUBDOMAIN all of them; also where the name is partial."""
    for host in READY:
        (outcome,) = guest.probe(f"http://{host}.{HEADLESS}:{TARGET_PORT}", count=3)
        outcome.assert_all_answered(by={host})
    questions = {f"{named.full(f'{host}.{HEADLESS}')} A": named.ips([host]) for host in READY}
    questions[f"{named.full(HEADLESS)} A"] = named.ips()
    questions[f"first.{HEADLESS} A"] = named.ips(["first"])
    found = ask(guest, *questions, f"{named.full(f'nobody.{HEADLESS}')} A", f"{named.full('first')} A")
    assert {question: found[question].of("A") for question in questions} == questions
    # Neither a hostname that no pod has, nor a hostname without its subdomain.
    assert found[f"{named.full(f'nobody.{HEADLESS}')} A"].status == "NXDOMAIN"
    assert found[f"{named.full('first')} A"].status == "NXDOMAIN"


@pytest.mark.behaviour("dns-ptr")
def test_addresses_lead_back_to_names(named: Named, guest: FromPod) -> None:
    """PTR: the ClusterIP to its Service, an endpoint of a headless Service to its hostname there."""
    wanted = {f"{ip_address(named.normal.cluster_ip).reverse_pointer}. PTR": named.full(NORMAL)}
    for host in READY:
        (ip,) = named.ips([host])
        wanted[f"{ip_address(ip).reverse_pointer}. PTR"] = named.full(f"{host}.{HEADLESS}")
    found = ask(guest, *wanted)
    for question, name in wanted.items():
        assert name in found[question].of("PTR"), found[question]


@pytest.mark.behaviour("dns-external-name")
def test_external_name_is_a_cname_and_follows_changes(named: Named, guest: FromPod) -> None:
    """To any name, to another Service of the cluster, and to a ClusterIP once its type is that."""
    ports = [{"name": "http", "port": 80, "targetPort": TARGET_PORT}]
    stage, name = named.stage, f"external-{secrets.token_hex(3)}"
    service = stage.service(None, name=name, ports=ports, type="ExternalName", externalName="foo.example.com")
    asked = named.full(name)
    found_soon(guest, f"{asked} CNAME", "the first CNAME", {"foo.example.com."})
    service.patch(externalName="bar.example.com")
    found_soon(guest, f"{asked} CNAME", "the second CNAME", {"bar.example.com."})
    target = f"{NORMAL}.{stage.namespace}.svc.{DOMAIN}"
    service.patch(externalName=target)
    wanted = {f"{target}.", named.normal.cluster_ip}
    found_soon(guest, f"{asked} A", f"the CNAME to {target} and its address", wanted)
    (outcome,) = guest.probe(f"http://{name}:80")
    outcome.assert_all_answered(by=set(READY))
    service.patch(type="ClusterIP", externalName=None, selector=LABELS)
    wait_until("a ClusterIP", partial(getattr, service, "cluster_ip"), timeout=KNOWN)
    found_soon(guest, f"{asked} A", "the address of the ClusterIP", {service.cluster_ip})
    stage.rulebook.settle()
    (outcome,) = guest.probe(f"http://{name}:80")
    outcome.assert_all_answered(by=set(READY))
