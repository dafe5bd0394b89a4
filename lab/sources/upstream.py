"""The source `upstream`: the projects' own Debian packages and images, verified on every machine.

What no project publishes comes from the bundle: bare machines for the providers that make some, mytest, and
what the suites run.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from lab import kubeconfig, paths, pins
from lab.bundle.kinds import disk
from lab.config import Config
from lab.config_upstream import RepositoryConfig
from lab.errors import BringUpError
from lab.sources.built import BuiltSource, Parts
from lab.state import LabState
from lab.versions import minor

# The machines of providers that make some: Debian and nothing else. Others have machines of their own.
MACHINES: Mapping[str, Parts] = {
    "uml": {"kernel": ("kernel", "linux"), "disk": ("bare-disk", "disk.img")},
    "podman": {"tree": ("bare-tree", "root")},
}
OWN_IMAGES = ("images-mytest", "images-busybox", "images-tools")


class UpstreamSource(BuiltSource):
    """Has the machines fetch packages and images, and gives them what is the lab's own."""

    def parts(self, config: Config) -> Parts:
        """Bare machines."""
        return MACHINES.get(config.provider, {})

    def faults(self, config: Config) -> list[str]:
        """What the machines cannot reach, host tools that a build needs, faults in recipes."""
        return [*_out_of_reach(config), *super().faults(config)]

    def extravars(self, config: Config) -> dict[str, Any]:
        """Repositories, versions, images and their digests, and where the lab's own things are."""
        release, asked = pins.of(config.kubernetes.version), config.upstream
        built = self._builder(config).built
        images = release.images
        told = {
            "machines_baked": False,
            "bundle_remote_src": False,
            "repositories": [
                _repository("kubernetes", asked.kubernetes, config),
                _repository("containerd", asked.containerd, config),
            ],
            "package_versions": {**release.packages, **asked.versions},
            "registry_mirrors": asked.mirrors,
            "http_proxy": asked.proxy,
            "no_proxy": list(asked.no_proxy),
            "pulled_images": [
                {
                    "name": image.name,
                    "repository": image.repository,
                    "digest": asked.digests.get(image.name, image.digest),
                    "control_plane": image.control_plane,
                }
                for what, image in images.items()
                if config.network.plugin == "flannel" or not what.startswith("flannel")
            ],
            "image_repository": images["pause"].repository.rpartition("/")[0],
            "pause_image": images["pause"].name,
            "etcd_image_tag": images["etcd"].tag,
            "coredns_image_tag": images["coredns"].tag,
            "flannel_image": images["flannel"].name,
            "flannel_cni_image": images["flannel-cni-plugin"].name,
            "kubectl_to_fetch": "/usr/bin/kubectl",
            "binaries": [{"src": str(self.program(config, "prober")), "dest": "/usr/local/bin/prober"}],
            "images": [
                {"src": str(built(own).folder / "image.tar"), "name": built(own).facts["image"]}
                for own in OWN_IMAGES
            ],
        }
        return {**told, "prepared_digest": _digest(told)}

    def program(self, config: Config, name: str) -> Path:
        """The built prober, or kubectl as fetched from the control plane, whose package apt has verified."""
        if name == "prober":
            return self._builder(config).built("prober").folder / "bin" / name
        program = kubeconfig.fetched(LabState(config.name)) / name
        if not program.is_file():
            raise BringUpError(f"The lab {config.name!r} has no {name} yet.", fix="lab up")
        program.chmod(0o755)  # Ansible's fetch leaves the mode behind
        return program

    def components(self, config: Config) -> list[str]:
        """What no project publishes."""
        parts = {component for component, _ in self.parts(config).values()}
        return sorted({*parts, *OWN_IMAGES, "prober"})


def _repository(name: str, repository: RepositoryConfig, config: Config) -> dict[str, Any]:
    release = minor(config.kubernetes.version)
    values = repository.model_dump(mode="json")
    return {
        "name": name,
        **values,
        **{key: values[key].replace("{minor}", release) for key in ("url", "key", "suite")},
    }


def _digest(told: Mapping[str, Any]) -> str:
    """sha256 (hex) over all that machines are prepared with, which they carry as their stamp."""
    text = json.dumps(told, sort_keys=True) + disk.playbooks_digest(paths.share("playbooks"))
    return hashlib.sha256(text.encode()).hexdigest()


def _out_of_reach(config: Config) -> Iterator[str]:
    """What is not on the LAN of a lab whose machines reach nothing else, and have no proxy."""
    asked = config.upstream
    if config.provider not in MACHINES or asked.proxy:
        return
    images = pins.of(config.kubernetes.version).images.values()
    registries = sorted({image.name.partition("/")[0] for image in images})
    urls = {
        "upstream.kubernetes.url": asked.kubernetes.url,
        "upstream.kubernetes.key": asked.kubernetes.key,
        "upstream.containerd.url": asked.containerd.url,
        "upstream.containerd.key": asked.containerd.key,
        **{f"upstream.mirrors[{name}]": asked.mirrors.get(name, f"https://{name}") for name in registries},
    }
    far = [key for key, url in urls.items() if not _is_on(url, config)]
    if far:
        yield (
            f"machines of {config.provider} reach only the lab's LAN {config.network.subnet}, and these are "
            f"elsewhere: {', '.join(far)}; name an HTTP proxy that this host reaches as upstream.proxy"
        )


def _is_on(url: str, config: Config) -> bool:
    """Whether a URL's host is an address on the lab's LAN."""
    try:
        return ipaddress.IPv4Address(urlsplit(url).hostname or "") in config.network.subnet
    except ValueError:
        return False
