"""Control groups, on folders that stand for them."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab import cgroups
from lab.errors import WaitTimeout


def test_hybrid_is_not_v2(tmp_path: Path) -> None:
    for name in ("cpu", "memory", "pids", "systemd", "unified"):
        (tmp_path / name).mkdir()
    assert not cgroups.is_v2(tmp_path)
    assert cgroups.missing_controllers(tmp_path) == ["cpuset"]


def test_v2(tmp_path: Path) -> None:
    (tmp_path / "cgroup.controllers").write_text("cpuset cpu io memory pids\n")
    assert cgroups.is_v2(tmp_path)
    assert cgroups.missing_controllers(tmp_path) == []


def test_hierarchies(tmp_path: Path) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(
        "tmpfs /sys/fs/cgroup tmpfs rw 0 0\ncgroup /c/cpu cgroup rw,cpu 0 0\ncgroup2 /c/u cgroup2 rw 0 0\n"
    )
    assert list(cgroups.hierarchies(mounts)) == [Path("/c/cpu"), Path("/c/u")]


def test_clearing_goes_through_every_hierarchy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tops = [tmp_path / "cpu", tmp_path / "memory"]
    monkeypatch.setattr(cgroups, "hierarchies", lambda: tops)
    for top in tops:
        (top / "lab/node/system.slice").mkdir(parents=True)
        (top / "other").mkdir()
    cgroups.clear("lab")
    assert [sorted(p.name for p in top.iterdir()) for top in tops] == [["other"], ["other"]]


def test_clearing_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cgroups, "hierarchies", lambda: [tmp_path])
    (tmp_path / "lab").mkdir()
    (tmp_path / "lab/stuck").write_text("")
    with pytest.raises(WaitTimeout, match="still in use"):
        cgroups.clear("lab", timeout=0.1)


def test_a_group_weighs_as_many_processors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two, other = tmp_path / "v1", tmp_path / "v2", tmp_path / "pids"
    for top in (one, two, other):
        top.mkdir()
    (one / "cpu.shares").write_text("1024\n")
    (two / "cgroup.controllers").write_text("cpu memory\n")
    monkeypatch.setattr(cgroups, "hierarchies", lambda: [one, two, other])
    cgroups.weigh("lab", 3)
    assert (one / "lab/cpu.shares").read_text() == "3072"
    assert (two / "lab/cpu.weight").read_text() == "300"
    assert list(other.iterdir()) == []
