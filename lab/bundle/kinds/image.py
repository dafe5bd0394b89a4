"""kind: image. A container image as a docker-archive: Debian packages only unpacked, and our programs."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, cast

from pydantic import Field

from lab.bundle import archive, dpkg, mmdebstrap
from lab.bundle.kinds.base import Kind, Spec, Work
from lab.bundle.runner import BuildError

REPOSITORY = "kube-service-lab.local"
# What an image never needs of a Debian root.
NEVER = (
    *("dev/*", "etc/apt", "etc/dpkg", "etc/fstab", "etc/hostname", "etc/resolv.conf"),
    *("usr/share/bash-completion", "usr/share/bug", "usr/share/doc", "usr/share/doc-base", "usr/share/info"),
    *("usr/share/lintian", "usr/share/locale", "usr/share/man", "usr/share/menu"),
    *("var/cache", "var/lib/apt", "var/lib/dpkg", "var/log"),
)
PASSWD = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"
GROUP = "root:x:0:\nnogroup:x:65534:\n"


class ImageSpec(Spec):
    """A recipe of kind image.

    `tag` may hold `{NAME}`: the version of a need or of a package. `files` leads from `NEED/PATH` to
    the path in the image. `base` is a need of kind root to start from; `packages` are for this image alone.
    """

    name: str
    tag: str
    suite: str = "bookworm"
    base: str = ""
    packages: tuple[str, ...] = ()
    files: dict[str, str] = Field(default_factory=dict)
    links: dict[str, str] = Field(default_factory=dict)
    applets: str = ""
    entrypoint: tuple[str, ...] = ()
    env: dict[str, str] = Field(default_factory=dict)


class Image(Kind):
    """Builds `image.tar`; notes the image's whole name as the fact `image`."""

    spec_class: ClassVar[type[Spec]] = ImageSpec
    code = (archive, dpkg, mmdebstrap)

    @property
    def spec(self) -> ImageSpec:
        """The recipe."""
        return cast("ImageSpec", self.base_spec)

    def host_tools(self) -> tuple[str, ...]:
        """mmdebstrap, where packages are wanted."""
        return (*super().host_tools(), *(mmdebstrap.tools() if self.spec.packages else ()))

    def build(self, work: Work) -> str:
        """Unpack, lay the programs over it, write the archive."""
        spec = self.spec
        root = work.need(spec.base).folder / "root.tar" if spec.base else None
        if spec.packages:
            root = work.scratch / "root.tar"
            mmdebstrap.root(work, root, variant="extract", suite=spec.suite, packages=spec.packages)
        packages = dpkg.versions(root) if root else {}
        versions = {name: dpkg.tag(version) for name, version in packages.items()}
        versions |= {need: work.need(need).version for need in spec.needs}
        try:
            tag = spec.tag.format_map(versions)
        except KeyError as error:
            raise BuildError(f"The tag {spec.tag!r} names {error}, which is not in the image.") from error
        applets = _applets(work, root, spec.applets) if root and spec.applets else []

        def fill(layer: archive.Layer) -> None:
            if root:
                layer.root(root, NEVER)
            for path, text in (("/etc/passwd", PASSWD), ("/etc/group", GROUP)):
                layer.file(path, text.encode(), 0o644)
            layer.folder("/tmp", 0o1777)
            for source, path in spec.files.items():
                need, _, inside = source.partition("/")
                layer.file(path, (work.need(need).folder / inside).read_bytes())
            for path, target in spec.links.items():
                layer.link(path, target)
            for path in applets:
                layer.link(f"/{path}", spec.applets)

        reference = f"{REPOSITORY}/{spec.name}:{tag}"
        archive.write(
            work.out / "image.tar",
            work.scratch,
            reference=reference,
            fill=fill,
            entrypoint=spec.entrypoint,
            env=spec.env,
        )
        work.facts |= {"image": reference, "name": spec.name, "tag": tag, "packages": packages}
        return tag


def _applets(work: Work, root: Path, program: str) -> list[str]:
    """The paths under which busybox wants to be found, asked of the root's own, with its own libc."""
    folder = work.scratch / "applets"
    folder.mkdir()
    work.run(["tar", "-C", folder, "-xf", root, "--exclude=./dev", "--no-same-owner"])
    listing = work.scratch / "applets.txt"
    loader = next(folder.glob("lib/x86_64-linux-gnu/ld-linux-x86-64.so.2"), None) or next(
        folder.glob("usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2")
    )
    work.run(
        [loader, "--library-path", loader.parent, folder / program.lstrip("/"), "--list-full"], output=listing
    )
    return [line for line in listing.read_text().split() if f"/{line}" != program]
