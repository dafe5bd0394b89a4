"""Image tars that every tool takes, the same bytes each time."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path

from lab.bundle import archive, dpkg


def make_root(path: Path) -> None:
    with tarfile.open(path, "w") as tar:
        for name, kind in (("./dev/null", tarfile.CHRTYPE), ("./bin", tarfile.DIRTYPE)):
            entry = tarfile.TarInfo(name)
            entry.type, entry.mtime, entry.mode = kind, 12345, 0o755
            tar.addfile(entry)
        for name, content in (("./bin/sh", b"shell"), ("./usr/share/doc/x/copyright", b"c")):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode, entry.uid = len(content), 0o755, 7
            tar.addfile(entry, io.BytesIO(content))
        entry = tarfile.TarInfo("./bin/ash")
        entry.type, entry.linkname = tarfile.LNKTYPE, "./bin/sh"
        tar.addfile(entry)


def write(tmp_path: Path, name: str) -> Path:
    root = tmp_path / "root.tar"
    make_root(root)
    scratch = tmp_path / name
    scratch.mkdir()

    def fill(layer: archive.Layer) -> None:
        layer.root(root, ["dev/*", "usr/share/doc"])
        layer.file("/usr/local/bin/program", b"program")
        layer.link("/usr/bin/alias", "../local/bin/program")
        layer.link("/bin/sh", "never: it is there")
        layer.folder("/tmp", 0o1777)

    target = tmp_path / f"{name}.tar"
    archive.write(
        target, scratch, reference="example.local/thing:1", fill=fill, entrypoint=["/program"], env={"A": "b"}
    )
    return target


def test_the_archive_is_well_formed(tmp_path: Path) -> None:
    with tarfile.open(write(tmp_path, "one")) as tar:
        contents = {entry.name: tar.extractfile(entry).read() for entry in tar}  # type: ignore[union-attr]
    (manifest,) = json.loads(contents["manifest.json"])
    assert manifest["RepoTags"] == ["example.local/thing:1"]
    config = json.loads(contents[manifest["Config"]])
    assert manifest["Config"] == hashlib.sha256(contents[manifest["Config"]]).hexdigest() + ".json"
    (layer,) = manifest["Layers"]
    assert config["rootfs"]["diff_ids"] == ["sha256:" + hashlib.sha256(contents[layer]).hexdigest()]
    assert config["config"]["Entrypoint"] == ["/program"]
    assert config["config"]["Env"] == [f"PATH={archive.PATH}", "A=b"]
    assert (config["architecture"], config["os"]) == ("amd64", "linux")
    with tarfile.open(fileobj=io.BytesIO(contents[layer])) as tar:
        entries = {entry.name: entry for entry in tar}
    assert list(entries) == [
        "bin", "bin/sh", "bin/ash", "usr", "usr/local", "usr/local/bin", "usr/local/bin/program", "usr/bin",
        "usr/bin/alias", "tmp",
    ]  # fmt: skip
    assert entries["bin/ash"].linkname == "bin/sh"
    assert entries["bin/sh"].uid == 7
    assert entries["usr/local/bin/program"].mode == 0o755
    assert entries["tmp"].mode == 0o1777
    assert {entry.mtime for entry in entries.values()} == {0}


def test_the_same_content_gives_the_same_bytes(tmp_path: Path) -> None:
    assert write(tmp_path, "one").read_bytes() == write(tmp_path, "two").read_bytes()


def test_a_debian_version_as_a_tag() -> None:
    assert dpkg.tag("1:1.35.0-4+deb12u1+b1") == "1.35.0-4-deb12u1-b1"
    assert dpkg.tag("0.1.7~rc1-1") == "0.1.7-rc1-1"


def test_dpkg_status_is_read() -> None:
    status = "Package: b\nStatus: install ok installed\nVersion: 2-1\n\nPackage: a\nVersion: 1:1\n"
    assert dpkg.parse(status) == {"a": "1:1", "b": "2-1"}
