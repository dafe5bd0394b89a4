"""kind: disk. The base image of user-mode nodes: a root, and unless it is bare, booted once and prepared."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, cast

import yaml
from pydantic import Field

from lab import netns, paths
from lab.bundle import host_tools
from lab.bundle.component import folder_digest
from lab.bundle.kinds.base import RECORD, Kind, Spec, Work
from lab.bundle.store import Artifact

PLAYBOOK = "bake.yml"
# Where the node sees the store while it is prepared.
MOUNT = "/mnt"
# fakeroot starts a daemon with message queues of its own: these end with a killed builder only in namespaces.
ENDS_WHOLE = (
    *("setpriv", "--pdeathsig", "KILL", "--"),
    *(
        "unshare",
        *(() if os.geteuid() == 0 else netns.MAKE_USER),
        "--pid",
        "--ipc",
        "--fork",
        "--kill-child",
        "--",
    ),
)


class DiskSpec(Spec):
    """A recipe of kind disk. `size` is what the node sees; the file is sparse.

    `programs` leads from a folder on the node to what goes there: `NEED` (all of `bin/`) or `NEED/PROGRAM`.
    A recipe without `programs` makes a bare disk: the root and nothing else, for whoever prepares it later.
    """

    root: str
    kernel: str
    size: str
    journal: int
    programs: dict[str, tuple[str, ...]] = Field(default_factory=dict)


class Disk(Kind):
    """Builds `disk.img`. Needs of kind image are loaded and unpacked in it, unless it is bare."""

    spec_class: ClassVar[type[Spec]] = DiskSpec

    @property
    def spec(self) -> DiskSpec:
        """The recipe."""
        return cast("DiskSpec", self.base_spec)

    @property
    def bare(self) -> bool:
        """Whether nothing is put on it."""
        return not self.spec.programs

    def host_tools(self) -> tuple[str, ...]:
        """What makes the file system without root; what boots it is the provider's to say."""
        booting = () if self.bare else ("openssh-client", "ethtool", "iproute2")
        return (*super().host_tools(), "e2fsprogs", "fakeroot", "util-linux", *booting)

    def tools(self) -> tuple[str, ...]:
        """The kernel that boots it once: any will do, and leaves no trace."""
        return () if self.bare else (self.spec.kernel,)

    def inputs(self) -> Mapping[str, str]:
        """The playbooks that prepare it."""
        return {} if self.bare else {"playbooks": playbooks_digest(paths.share("playbooks"))}

    def build(self, work: Work) -> str:
        """Make the disk, and unless it is bare, boot it, prepare it, power it off."""
        disk = work.out / "disk.img"
        work.note("making the file system")
        self.make_file_system(work, disk)
        if not self.bare:
            self.prepare(work, disk)
        return self.component.version

    def prepare(self, work: Work, disk: Path) -> None:
        """Boot the disk, run the playbook in it, power it off."""
        from lab.bundle import bake  # noqa: PLC0415 -- Ansible and the machines, needed only here

        work.facts |= contents(self.spec, work.needs)
        bake.run(
            disk=disk,
            kernel=work.need(self.spec.kernel).folder / "linux",
            hostfs=work.out.parents[2],
            extravars=extravars(work.facts, work.digest, lambda artifact: f"{MOUNT}/{artifact}", remote=True),
            work=work,
            record=work.scratch / RECORD,
        )
        # Whole even if the machine did not end in time: what it wrote was synced, the journal has the rest.
        e2fsck = host_tools.which("e2fsck") or "e2fsck"
        work.run(["sh", "-c", '"$0" -fp "$1" || [ $? -eq 1 ]', e2fsck, disk])

    def make_file_system(self, work: Work, disk: Path) -> None:
        """An ext4 image of the node's root, made without root: fakeroot remembers the owners."""
        tree = work.scratch / "tree"
        tree.mkdir()
        # The tables are written now rather than by every node's first boot into its copy-on-write file.
        script = (
            f'tar -C "$1" -xf "$2" --exclude=./dev/* && truncate -s {self.spec.size} "$3" && '
            f'"$4" -q -F -t ext4 -L node -m 0 -i 32768 -J size={self.spec.journal} -E lazy_itable_init=0 '
            '-d "$1" "$3"'
        )
        mke2fs = host_tools.which("mke2fs") or "mke2fs"
        root = work.need(self.spec.root).folder / "root.tar"
        work.run([*ENDS_WHOLE, "fakeroot", "sh", "-ec", script, "sh", tree, root, disk, mke2fs])


def contents(spec: DiskSpec, needs: Mapping[str, Artifact]) -> dict[str, Any]:
    """What goes onto a node: programs and images, each with the artifact folder and the path in it."""
    programs = []
    for folder, sources in spec.programs.items():
        for source in sources:
            need, _, program = source.partition("/")
            artifact = next(a for name, a in needs.items() if name == need or name.startswith(f"{need}-"))
            names = [program] if program else sorted(p.name for p in (artifact.folder / "bin").iterdir())
            programs += [
                {"artifact": f"{artifact.folder.name}/bin/{name}", "dest": f"{folder}/{name}"}
                for name in names
            ]
    images = [
        {"artifact": f"{artifact.folder.name}/image.tar", "name": artifact.facts["image"]}
        for artifact in needs.values()
        if "image" in artifact.facts
    ]
    return {"programs": programs, "images": images}


def extravars(
    facts: Mapping[str, Any], digest: str, place: Callable[[str], str], *, remote: bool
) -> dict[str, Any]:
    """The playbooks' variables for what a disk holds.

    Args:
        facts: a disk's, as `contents` gives them.
        digest: the disk's own, which a prepared machine carries as its stamp.
        place: leads from a path in the store to where Ansible finds it.
        remote: whether that is on the node.
    """
    names = {image["name"].rsplit("/", 1)[1].split(":")[0]: image["name"] for image in facts["images"]}
    tags = {name: whole.rsplit(":", 1)[1] for name, whole in names.items()}
    return {
        "image_repository": names["pause"].rsplit("/", 1)[0],
        "etcd_image_tag": tags["etcd"],
        "coredns_image_tag": tags["coredns"],
        "pause_image": names["pause"],
        "binaries": [
            {"src": place(p["artifact"]), "dest": p["dest"], "mode": "0755"} for p in facts["programs"]
        ],
        "images": [{"src": place(i["artifact"]), "name": i["name"]} for i in facts["images"]],
        "bundle_remote_src": remote,
        "prepared_digest": digest,
    }


def playbooks_digest(playbooks: Path) -> str:
    """sha256 (hex) over the playbook that bakes and all that it uses: playbooks, roles, group variables."""
    total = hashlib.sha256()
    seen: set[str] = set()
    queue = [PLAYBOOK, "group_vars/all.yml"]
    while queue:
        name = queue.pop(0)
        path = playbooks / name
        if name in seen or not path.exists():
            continue
        seen.add(name)
        if path.is_dir():
            total.update(f"{name} {folder_digest(path)}\n".encode())
            continue
        text = path.read_text()
        total.update(f"{name} {hashlib.sha256(text.encode()).hexdigest()}\n".encode())
        queue += _used(yaml.safe_load(text))
    return total.hexdigest()


def _used(node: Any) -> list[str]:
    """The playbooks and roles that a playbook names."""
    found: list[str] = []
    if isinstance(node, list):
        for item in node:
            found += _used(item)
    elif isinstance(node, dict):
        for key, value in node.items():
            word = str(key).removeprefix("ansible.builtin.")
            if word == "import_playbook":
                found.append(str(value))
            elif word in {"import_role", "include_role"}:
                found.append(f"roles/{value['name']}")
            elif word == "roles":
                found += [f"roles/{role['role'] if isinstance(role, dict) else role}" for role in value]
            else:
                found += _used(value)
    return found
