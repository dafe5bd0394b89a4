"""Prints, as shell variables, what benchmarks/floor.sh starts from; renders its files into a folder.

usage: python benchmarks/floor_inputs.py PROVIDER FOLDER
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path

from lab import config, inventory, sources
from lab.progress import Progress

HERE = Path(__file__).resolve().parent


def main(provider: str, out: Path) -> None:
    """Build what is missing, render, and print `NAME=VALUE` lines."""
    lab = config.from_values({"provider": provider})
    source = sources.get(lab.source)
    source.ensure(lab, Progress())
    variables = {
        **inventory.extravars(lab),
        **source.extravars(lab),
        "out": str(out),
        "ansible_python_interpreter": sys.executable,
        # Outside of a role there is none; the templates start from it.
        "role_path": str(HERE.parent / "playbooks/roles/control_plane"),
    }
    (out / "vars.json").write_text(json.dumps(variables, default=str))
    hosts = {
        "all": {
            "children": {
                "master": {"hosts": {lab.master.name: {"node_address": str(lab.master.address)}}},
                "nodes": {"hosts": {n.name: {"node_address": str(n.address)} for n in lab.workers}},
            }
        }
    }
    (out / "inventory.json").write_text(json.dumps(hosts))
    rendered = subprocess.run(
        [
            str(Path(sys.executable).with_name("ansible-playbook")),
            "--inventory",
            str(out / "inventory.json"),
            "--extra-vars",
            f"@{out / 'vars.json'}",
            str(HERE / "render.yml"),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    if rendered.returncode:
        sys.exit(rendered.stdout + rendered.stderr)
    values = {
        **source.machine_image(lab),
        "memory": lab.machine.memory,
        "nodes": " ".join(f"{node.name}={node.address}" for node in lab.nodes),
        "gateway": lab.network.gateway,
        "prefix": lab.network.subnet.prefixlen,
    }
    for name, value in values.items():
        print(f"{name.upper()}={shlex.quote(str(value))}")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
