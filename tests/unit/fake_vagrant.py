"""A program `vagrant` that keeps machines in a file, and the programs around it: enough for the provider."""

from __future__ import annotations

import json
import sys
from pathlib import Path

VAGRANT = """\
import json, os, sys, time
from pathlib import Path

argv = sys.argv[1:]
home = Path(os.environ["FAKE_VAGRANT"])
with (home / "calls").open("a") as calls:
    calls.write(" ".join(argv) + "\\n")
notes = Path(os.environ.get("VAGRANT_DOTFILE_PATH", home)) / "fake.json"
there = json.loads(notes.read_text()) if notes.exists() else {}
words = [word for word in argv if not word.startswith("-")]
if words[0] in ("status", "up", "destroy", "ssh-config"):
    lab = json.loads(Path(os.environ["LAB_VAGRANT_CONFIG"]).read_text())
    names = [node["name"] for node in lab["nodes"]]
if (home / "breaks").exists() and words[0] == "up":
    print("The box 'nowhere' could not be found.", file=sys.stderr)
    sys.exit(1)
if (home / "hangs").exists() and words[0] == "up":
    time.sleep(600)
if words == ["plugin", "list"]:
    for plugin in (home / "plugins").read_text().split():
        print(f"1,,plugin-name,{plugin}")
elif words == ["box", "list"]:
    for box in json.loads((home / "boxes").read_text()):
        for kind in ("name", "provider", "version"):
            print(f"1,,box-{kind},{box[kind]}")
elif words[:2] == ["box", "add"]:
    catalog = json.loads(Path(words[-1]).read_text())
    boxes = json.loads((home / "boxes").read_text())
    version = catalog["versions"][0]
    boxes.append({"name": catalog["name"], "provider": "libvirt", "version": version["version"]})
    (home / "boxes").write_text(json.dumps(boxes))
elif words == ["status"]:
    for name in names:
        print(f"1,{name},provider-name,libvirt")
        print(f"1,{name},state,{there.get(name, 'not_created')}")
elif words == ["up"]:
    notes.parent.mkdir(parents=True, exist_ok=True)
    notes.write_text(json.dumps(dict.fromkeys(names, "running")))
elif words == ["destroy"]:
    notes.unlink(missing_ok=True)
elif words == ["ssh-config"]:
    print("\\n".join(f"Host {name}" for name in names))
"""
# Whoever is asked says its name and the address that the configuration gives it, unless it is told another.
SSH = """\
import json, os, sys
from pathlib import Path

home = Path(os.environ["FAKE_VAGRANT"])
if sys.stdin is not None and "-o" in sys.argv:
    name = sys.argv[-2]
    (home / f"let-in-{name}").write_text(sys.stdin.read())
    print(name)
    print("eth0 192.168.121.7/24")
    print("eth1", json.loads((home / "addresses").read_text())[name] + "/24")
"""
VIRSH = """\
import os, sys
from pathlib import Path

home = Path(os.environ["FAKE_VAGRANT"])
words = sys.argv[3:]
with (home / "virsh").open("a") as calls:
    calls.write(" ".join(words) + "\\n")
if (home / "no-libvirt").exists():
    print("error: failed to connect to the hypervisor", file=sys.stderr)
    sys.exit(1)
if words[0] in ("list", "net-list") and (home / words[0]).exists():
    print((home / words[0]).read_text())
"""
ADDRESSES = {"master": "192.168.1.200", "node01": "192.168.1.201", "node02": "192.168.1.202"}


class Host:
    """A host with these programs; `folder` has what they were told and what they are to say."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bin = folder / "bin"
        self.bin.mkdir(parents=True)
        self.program("vagrant", VAGRANT)
        self.program("ssh", SSH)
        self.program("virsh", VIRSH)
        self.networks({"lo": "127.0.0.1/8"})
        self.say("plugins", "vagrant-libvirt")
        self.say("boxes", "[]")
        self.say("addresses", json.dumps(ADDRESSES))

    def program(self, name: str, text: str) -> None:
        file = self.bin / name
        file.write_text(f"#!{sys.executable}\n{text}")
        file.chmod(0o755)

    def say(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text)

    def networks(self, links: dict[str, str]) -> None:
        said = []
        for name, address in links.items():
            local, _, length = address.partition("/")
            said.append({"ifname": name, "addr_info": [{"local": local, "prefixlen": int(length)}]})
        self.program("ip", f"print({json.dumps(json.dumps(said))})\n")

    def calls(self, name: str = "calls") -> list[str]:
        file = self.folder / name
        return file.read_text().splitlines() if file.exists() else []
