"""A stand-in of the projects' package repositories and image registries, for hosts that cannot reach them.

Real servers with real signatures: reprepro's repository signed by a key made for the test, and Debian's
docker-registry. What they hold is what the bundle built, packed as the projects pack theirs. They run where
the lab's machines can reach them, on the operator's address.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness import Lab

from lab import pins
from lab.bundle import archive
from lab.bundle.builder import Builder
from lab.netns import Namespace

TOOLS = {
    "reprepro": "reprepro",
    "docker-registry": "docker-registry",
    "skopeo": "skopeo",
    "tinyproxy": "tinyproxy-bin",
    "gpg": "gnupg",
}
#: The components that packages and images are made of.
COMPONENTS = (
    *("kubernetes", "containerd", "runc", "cni-plugins", "flannel"),
    *(
        "images-kube-apiserver",
        "images-kube-controller-manager",
        "images-kube-scheduler",
        "images-kube-proxy",
    ),
    *("images-etcd", "images-coredns", "images-pause", "images-flannel", "images-busybox"),
)
OPERATOR = "192.168.1.1"
PACKAGES_PORT, IMAGES_PORT = 8080, 5000
REPLACING = ("Conflicts", "Replaces", "Provides")
KUBELET_UNIT = """\
[Unit]
Description=kubelet: The Kubernetes Node Agent
[Service]
ExecStart=/usr/bin/kubelet
Restart=always
RestartSec=10
[Install]
WantedBy=multi-user.target
"""
CONTAINERD_UNIT = """\
[Unit]
Description=containerd container runtime
[Service]
ExecStart=/usr/bin/containerd
Type=notify
Delegate=yes
[Install]
WantedBy=multi-user.target
"""
PROXY = """\
Listen 127.0.0.1
Port {port}
Allow 127.0.0.1
LogFile "{log}"
LogLevel Connect
"""
REGISTRY = """\
version: 0.1
storage: {{filesystem: {{rootdirectory: {root}}}}}
http: {{addr: "{address}:{port}"}}
"""


@dataclass(frozen=True)
class Package:
    """A Debian package: its repository, version, what it depends on, its files, and what it replaces."""

    repository: str
    version: str
    depends: str
    files: Mapping[str, Path | str] = field(default_factory=dict)
    replaces: str = ""


@dataclass
class StandIn:
    """The stand-in, all of it in one folder.

    Args:
        folder: short, since gpg's agent has its socket there.
        make: knows what is built.
    """

    folder: Path
    make: Builder
    fingerprint: str = ""
    digests: dict[str, str] = field(default_factory=dict)

    def build(self) -> None:
        """Make the key, pack and sign the packages, push the images."""
        self.fingerprint = self.make_key("packages@stand-in.example")
        self.pack()
        self.push()

    def upstream(self, packages: str = f"http://{OPERATOR}:{PACKAGES_PORT}") -> dict[str, Any]:
        """The part `upstream` of a configuration that leads here."""
        images = f"http://{OPERATOR}:{IMAGES_PORT}"
        repository = {"url": packages, "key": f"{packages}/key.asc", "fingerprint": self.fingerprint}
        return {
            "kubernetes": {**repository, "suite": "kubernetes", "components": ["main"]},
            "containerd": {**repository, "suite": "containerd", "components": ["main"]},
            "mirrors": {"registry.k8s.io": images, "ghcr.io": images},
            "digests": dict(self.digests),
        }

    @property
    def repository(self) -> Path:
        return self.folder / "apt"

    def make_key(self, user: str) -> str:
        """Make a key that signs; the repository offers its public part. Returns its fingerprint."""
        home = self.folder / "gpg"
        home.mkdir(mode=0o700, exist_ok=True)
        self.gpg("--quick-generate-key", user, "ed25519", "sign", "never")
        listing = self.gpg("--with-colons", "--list-keys", user)
        self.repository.mkdir(exist_ok=True)
        (self.repository / "key.asc").write_text(self.gpg("--armor", "--export", user))
        return next(line.split(":")[9] for line in listing.splitlines() if line.startswith("fpr"))

    def gpg(self, *words: str) -> str:
        return self.run("gpg", "--batch", "--passphrase", "", *words)

    def sign_by(self, user: str) -> None:
        """Have the repositories' lists signed by that key."""
        conf = self.repository / "conf"
        conf.mkdir(exist_ok=True)
        (conf / "distributions").write_text(
            "\n".join(
                f"Codename: {name}\nArchitectures: amd64\nComponents: main\nSignWith: {user}\n"
                for name in ("kubernetes", "containerd")
            )
        )
        self.run("reprepro", "--silent", "--basedir", self.repository, "export")

    def pack(self) -> None:
        """Make the packages, as the projects name and divide theirs, and put them in signed repositories."""
        self.sign_by("packages@stand-in.example")
        for name, package in self.packages().items():
            tree = self.folder / "packages" / name
            for inside, content in package.files.items():
                target = tree / inside.lstrip("/")
                target.parent.mkdir(parents=True, exist_ok=True)
                if isinstance(content, Path):
                    shutil.copy(content, target)
                else:
                    target.write_text(content)
            control = tree / "DEBIAN/control"
            control.parent.mkdir(parents=True)
            control.write_text(
                f"Package: {name}\nVersion: {package.version}\nArchitecture: amd64\nSection: admin\n"
                f"Priority: optional\nMaintainer: Stand-in <packages@stand-in.example>\n"
                f"Depends: {package.depends}\n"
                + "".join(f"{how}: {package.replaces}\n" for how in REPLACING if package.replaces)
                + f"Description: {name}, from the bundle\n"
            )
            if "/etc/containerd/config.toml" in package.files:
                (tree / "DEBIAN/conffiles").write_text("/etc/containerd/config.toml\n")
            deb = self.folder / f"{name}.deb"
            self.run("dpkg-deb", "--root-owner-group", "-Znone", "--build", tree, deb)
            shutil.rmtree(tree)
            self.run(
                "reprepro", "--silent", "--basedir", self.repository, "includedeb", package.repository, deb
            )
            deb.unlink()

    def packages(self) -> dict[str, Package]:
        version = pins.known()[0]
        kubernetes, containerd = self.built("kubernetes") / "bin", self.built("containerd") / "bin"
        plugins = self.built("cni-plugins") / "bin"
        return {
            "kubelet": Package(
                "kubernetes",
                f"{version}-1.1",
                "iptables (>= 1.4.21), kubernetes-cni (>= 1.2.0), iproute2, mount, util-linux",
                {
                    "/usr/bin/kubelet": kubernetes / "kubelet",
                    "/usr/lib/systemd/system/kubelet.service": KUBELET_UNIT,
                },
            ),
            "kubeadm": Package(
                "kubernetes",
                f"{version}-1.1",
                "cri-tools (>= 1.30.0)",
                {"/usr/bin/kubeadm": kubernetes / "kubeadm"},
            ),
            "kubectl": Package(
                "kubernetes", f"{version}-1.1", "libc6", {"/usr/bin/kubectl": kubernetes / "kubectl"}
            ),
            "kubernetes-cni": Package(
                "kubernetes",
                "1.9.1-1.1",
                "libc6",
                {f"/opt/cni/bin/{plugin.name}": plugin for plugin in plugins.iterdir()},
            ),
            # The bundle builds no crictl, and nothing here calls it: only the dependency is there.
            "cri-tools": Package(
                "kubernetes",
                f"{version.rpartition('.')[0]}.0-1.1",
                "libc6",
                {"/usr/share/doc/cri-tools/README": ""},
            ),
            "containerd.io": Package(
                "containerd",
                f"{self.make.built('containerd').version}-1~debian.12~bookworm",
                "libc6, libseccomp2",
                {
                    **{f"/usr/bin/{program.name}": program for program in containerd.iterdir()},
                    "/usr/bin/runc": self.built("runc") / "bin/runc",
                    "/usr/lib/systemd/system/containerd.service": CONTAINERD_UNIT,
                    "/etc/containerd/config.toml": 'disabled_plugins = ["cri"]\n',
                },
                "containerd, runc",
            ),
        }

    def push(self) -> None:
        """Push every pinned image under its own name; notes their digests."""
        plugin = self.plugin_image()
        with self.registry() as port:
            for what, image in pins.of(pins.known()[0]).images.items():
                own = plugin if what == "flannel-cni-plugin" else self.built(f"images-{what}") / "image.tar"
                place = image.name.partition("/")[2]
                note = self.folder / "digest"
                words = (
                    "--insecure-policy",
                    "copy",
                    "--quiet",
                    "--dest-tls-verify=false",
                    "--digestfile",
                    note,
                )
                self.run("skopeo", *words, f"docker-archive:{own}", f"docker://127.0.0.1:{port}/{place}")
                self.digests[image.name] = note.read_text()

    def plugin_image(self) -> Path:
        """flannel's CNI plugin with a `cp` beside it: busybox's image and one file more."""
        scratch = self.folder / "plugin"
        scratch.mkdir()
        self.run("tar", "-C", scratch, "-xf", self.built("images-busybox") / "image.tar")
        (layer,) = scratch.glob("*/layer.tar")
        base = layer.rename(scratch / "base.tar")

        def fill(into: archive.Layer) -> None:
            into.root(base)
            into.file("/flannel", (self.built("flannel") / "bin/flannel").read_bytes())

        archive.write(scratch / "image.tar", scratch, reference="flannel-cni-plugin:1", fill=fill)
        return scratch / "image.tar"

    @contextlib.contextmanager
    def registry(self) -> Iterator[int]:
        """The registry on this host's loopback."""
        port = free_port()
        with self.serving("registry", self.registry_command("127.0.0.1", port), port):
            yield port

    @contextlib.contextmanager
    def proxied(self) -> Iterator[dict[str, Any]]:
        """The packages on this host's loopback, behind a proxy there; yields the part `upstream` for them."""
        port, proxy = free_port(), free_port()
        file = self.folder / "tinyproxy.conf"
        file.write_text(PROXY.format(port=proxy, log=self.folder / "tinyproxy.log"))
        web = self.serving("web", [*self.web_command(port), "--bind=127.0.0.1"], port)
        with web, self.serving("proxy", ["tinyproxy", "-d", "-c", str(file)], proxy):
            there = self.upstream(f"http://127.0.0.1:{port}")
            yield {**there, "proxy": f"http://127.0.0.1:{proxy}", "no_proxy": [OPERATOR]}

    @contextlib.contextmanager
    def serving(self, name: str, command: list[str], port: int) -> Iterator[None]:
        with subprocess.Popen(command, **self.quietly(name)) as process:
            try:
                wait_for_port(port)
                yield
            finally:
                process.terminate()

    def web_command(self, port: int) -> list[str]:
        return [sys.executable, "-m", "http.server", f"{port}", f"--directory={self.repository}"]

    def registry_command(self, address: str, port: int) -> list[str]:
        file = self.folder / f"registry-{port}.yaml"
        file.write_text(REGISTRY.format(root=self.folder / "registry", address=address, port=port))
        return ["docker-registry", "serve", str(file)]

    @contextlib.contextmanager
    def beside(self, lab: Lab) -> Iterator[None]:
        """Both servers on the operator's address of that lab, in all its namespaces while they live."""
        over = threading.Event()
        web, registry = self.web_command(PACKAGES_PORT), self.registry_command("", IMAGES_PORT)
        servers: list[subprocess.Popen[bytes]] = []

        def watch() -> None:
            known: Namespace | None = None
            while not over.wait(0.1):
                there = Namespace.load(lab.folder / "machines.json")
                if there is None or there == known:
                    continue
                known = there
                for name, command in (("web", web), ("registry", registry)):
                    # As one of the lab's own processes: they end with it.
                    servers.append(subprocess.Popen([*there.enter(), *command], **self.quietly(name)))

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            yield
        finally:
            over.set()
            watcher.join()
            for server in servers:
                server.terminate()
                server.wait(10)

    def quietly(self, name: str) -> dict[str, Any]:
        log = (self.folder / f"{name}.log").open("ab")
        return {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": log}

    def built(self, component: str) -> Path:
        return self.make.built(component).folder

    def run(self, *argv: str | Path) -> str:
        done = subprocess.run(
            argv,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            env={**os.environ, "GNUPGHOME": str(self.folder / "gpg")},
        )
        assert done.returncode == 0, f"{argv}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout


@contextlib.contextmanager
def stand_in(make: Builder) -> Iterator[StandIn]:
    """A stand-in with all that is pinned; nothing of it is left afterwards."""
    made = StandIn(Path(tempfile.mkdtemp(prefix="ksl-up-")), make)
    try:
        made.build()
        yield made
    finally:
        with contextlib.suppress(AssertionError):
            made.run("gpgconf", "--kill", "all")
        shutil.rmtree(made.folder, ignore_errors=True)


@contextlib.contextmanager
def spoiled(file: Path) -> Iterator[None]:
    """A file with one byte in its middle changed, as long as this lasts."""
    whole = file.read_bytes()
    middle = len(whole) // 2
    file.write_bytes(whole[:middle] + bytes([whole[middle] ^ 0xFF]) + whole[middle + 1 :])
    try:
        yield
    finally:
        file.write_bytes(whole)


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def wait_for_port(port: int, *, timeout: float = 10) -> None:
    end = time.monotonic() + timeout
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            assert time.monotonic() < end, f"nobody listened on port {port} within {timeout} s"
            time.sleep(0.05)
        else:
            return
