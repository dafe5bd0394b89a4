"""The part `upstream:` of a configuration: where the projects' own packages and images are fetched from."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


def _url(value: str) -> str:
    if not re.fullmatch(r"https?://[^/\s]+(/\S*)?", value):
        raise ValueError(f"{value!r} is not a URL, as https://mirror.example/debian is")
    return value


def _fingerprint(value: str) -> str:
    plain = re.sub(r"\s", "", value).upper()
    if not re.fullmatch(r"[0-9A-F]{40}|[0-9A-F]{64}", plain):
        raise ValueError(f"{value!r} is not the fingerprint of a key: 40 hexadecimal digits, all of them")
    return plain


def _digest(value: str) -> str:
    if not re.fullmatch(r"sha256:[0-9a-f]{64}", value):
        raise ValueError(f"{value!r} is not a digest: sha256: and 64 hexadecimal digits")
    return value


Url = Annotated[str, AfterValidator(_url)]
Fingerprint = Annotated[str, AfterValidator(_fingerprint)]
Digest = Annotated[str, AfterValidator(_digest)]
# A mirror's or proxy's place may be left out.
OptionalUrl = Annotated[str, AfterValidator(lambda value: _url(value) if value else value)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class RepositoryConfig(_Part):
    """An apt repository, and the one key that may have signed it."""

    url: Url
    key: Url
    suite: str
    components: tuple[str, ...] = ()
    fingerprint: Fingerprint


class KubernetesRepository(RepositoryConfig):
    """Where apt finds kubelet, kubeadm, kubectl, kubernetes-cni and cri-tools."""

    url: Url = Field(
        "https://pkgs.k8s.io/core:/stable:/v{minor}/deb/", description="`{minor}` is the release's, as 1.37"
    )
    suite: str = Field("/", description="a path ends in /; what else there is, is a suite below dists/")
    components: tuple[str, ...] = Field((), description="of a suite; a path has none")
    key: Url = Field(
        "https://pkgs.k8s.io/core:/stable:/v{minor}/deb/Release.key", description="the key, ASCII-armoured"
    )
    fingerprint: Fingerprint = Field(
        "DE15B14486CD377B9E876E1A234654DA9A296436", description="of the key; any other is refused"
    )


class ContainerdRepository(RepositoryConfig):
    """Where apt finds containerd.io: containerd and runc."""

    url: Url = Field(
        "https://download.docker.com/linux/{distribution}",
        description="`{distribution}` is the machine's own, as debian",
    )
    suite: str = Field("{codename}", description="`{codename}` is the machine's own, as bookworm")
    components: tuple[str, ...] = Field(("stable",), description="of the suite")
    key: Url = Field(
        "https://download.docker.com/linux/{distribution}/gpg", description="the key, ASCII-armoured"
    )
    fingerprint: Fingerprint = Field(
        "9DC858229FC7DD38854AE2D88D81803C0EBFCD88", description="of the key; any other is refused"
    )


class UpstreamConfig(_Part):
    """For `source: upstream`: where packages and images come from, and what they must be."""

    kubernetes: KubernetesRepository = KubernetesRepository()
    containerd: ContainerdRepository = ContainerdRepository()
    versions: dict[str, str] = Field(
        default_factory=dict, description="package to version, where another than the release's own is wanted"
    )
    mirrors: dict[str, Url] = Field(
        default_factory=dict, description="registry to the URL that is asked in its place"
    )
    digests: dict[str, Digest] = Field(
        default_factory=dict, description="image, with its tag, to the digest it must have"
    )
    proxy: OptionalUrl = Field("", description="the HTTP proxy of apt and containerd")
    no_proxy: tuple[str, ...] = Field((), description="hosts that are reached without the proxy")
