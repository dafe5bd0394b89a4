"""Work the disks, systemd and the network of two user-mode machines, and see whether one stalls.

    .tox/lab/bin/python benchmarks/machines_under_load.py [--minutes 8] [--kernel PATH]

With a kernel that loses interrupts (docs/user-mode-nodes.md, "Traps") each stalls within minutes.
Exit code 1: one did.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
import threading
import time
from ipaddress import IPv4Interface
from pathlib import Path

from lab import ssh, user_mode
from lab.config import Config
from lab.progress import Progress
from lab.sources.built import builder
from lab.user_mode import Lan, Machine

NAMES = ("one", "two")
STALLED = 120.0  # seconds without a word; a round takes 5 to 12
# One round: two writers that flush; caches dropped, units read anew, a service restarted, files read.
ROUNDS = r"""
mkdir -p /var/load
cat > /var/load/write.py <<'P'
import os, random, threading
data = os.urandom(1 << 20)
def write(number):
    for file in range(6):
        path = f"/var/load/{number}-{file}"
        with open(path + ".new", "wb") as out:
            for _ in range(random.randint(1, 20)):
                out.write(data)
            out.flush()
            os.fsync(out.fileno())
        os.rename(path + ".new", path)
threads = [threading.Thread(target=write, args=(n,)) for n in range(2)]
[t.start() for t in threads]
[t.join() for t in threads]
P
round=0
while :; do
  round=$((round + 1))
  echo "$round"
  python3 /var/load/write.py
  echo 3 > /proc/sys/vm/drop_caches
  systemctl daemon-reload
  systemctl restart containerd
  journalctl -n 1 -q -o cat > /dev/null
  find /usr -type f | head -2000 | xargs cat > /dev/null
done
"""
FEED = "head -c 16777216 > /var/load/fed; sync"


def main() -> int:
    """Run it; see the module."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=8)
    parser.add_argument("--kernel", type=Path, help="another user-mode kernel than the bundle's")
    args = parser.parse_args()
    make = builder(Config().kubernetes.version)
    make.ensure(["kernel", "node-disk"], Progress())
    kernel = args.kernel or make.built("kernel").folder / "linux"
    with tempfile.TemporaryDirectory(prefix="ksl-load-") as temporary:
        rounds, stalled = work(Path(temporary), kernel, make.built("node-disk").folder, args.minutes * 60)
    for name in NAMES:
        print(f"{name}: {rounds[name]} rounds{', then stalled' if name in stalled else ''}")
    return 1 if stalled else 0


def work(folder: Path, kernel: Path, disk: Path, seconds: float) -> tuple[dict[str, int], set[str]]:
    """The rounds that each machine did, and those that stalled."""
    key = ssh.make_key(folder / "key")
    lan = Lan.make(folder / "machines.json", IPv4Interface("192.168.1.1/24"))
    pins = user_mode.pins(len(NAMES))
    machines = {
        number: Machine(
            name=name,
            address=IPv4Interface(f"192.168.1.{10 + number}/24"),
            memory=1500,
            cpus=1,
            pin=pins[number],
            folder=folder / name,
            disk=disk / "disk.img",
        )
        for number, name in enumerate(NAMES)
    }
    addresses = {machine.name: str(machine.address.ip) for machine in machines.values()}
    config = folder / "config"
    ssh.write_config(config, hosts=addresses, key=folder / "key", sockets=folder)
    over = threading.Event()
    rounds, stalled = dict.fromkeys(NAMES, 0), set[str]()

    def argv(name: str, command: str) -> list[str]:
        return [*lan.namespace.enter(), *ssh.argv(config, name, command)]

    def feed(name: str) -> None:
        while not over.is_set():
            with (
                Path("/dev/zero").open("rb") as zeros,
                subprocess.Popen(
                    argv(name, FEED), stdin=zeros, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
                ) as feeding,
            ):
                while feeding.poll() is None and not over.wait(0.1):
                    pass
                feeding.kill()

    def drive(name: str) -> None:
        log = folder / f"{name}.log"
        with (
            log.open("wb") as out,
            subprocess.Popen(
                argv(name, "sh -s"), stdin=subprocess.PIPE, stdout=out, stderr=subprocess.DEVNULL
            ) as driving,
        ):
            assert driving.stdin is not None
            driving.stdin.write(ROUNDS.encode())
            driving.stdin.close()
            changed = time.monotonic()
            while not over.wait(1):
                done = int((log.read_text().split() or ["0"])[-1])
                if done > rounds[name]:
                    rounds[name], changed = done, time.monotonic()
                elif time.monotonic() - changed > STALLED:
                    stalled.add(name)
                    break
            driving.kill()

    try:
        lan.start(machines, kernel, key)
        ssh.wait(lan.namespace.enter(), config, list(NAMES), timeout=120, running=lan.running)
        threads = [threading.Thread(target=act, args=(name,)) for name in NAMES for act in (drive, feed)]
        for thread in threads:
            thread.start()
        end = time.monotonic() + seconds
        while time.monotonic() < end and len(stalled) < len(NAMES):
            time.sleep(1)
        over.set()
        for thread in threads:
            thread.join()
    finally:
        over.set()
        lan.namespace.destroy()
    return rounds, stalled


if __name__ == "__main__":
    raise SystemExit(main())
