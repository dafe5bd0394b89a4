"""What the shell offers at the press of a key, as bash asks for it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from lab.config import Config
from lab.state import LabState
from lab.workshop.labs import Workshop


def offered(line: str) -> list[str]:
    """What is offered where the cursor is, at the end of `line`."""
    asked = {
        "_LAB_COMPLETE": "complete_bash",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(line.split(" ")) - 1),
    }
    done = subprocess.run(
        [sys.executable, "-m", "lab"],
        env={**os.environ, **asked},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert not done.stderr
    return done.stdout.split()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("lab proxy-mode ", ["iptables", "ipvs", "nftables"]),
        ("lab proxy-mode ip", ["iptables", "ipvs"]),
        ("lab up --provider p", ["podman"]),
        ("lab up --proxy-mode n", ["nftables"]),
        ("lab up --addon m", ["metallb"]),
        ("lab lesson check 1", ["1", "10"]),
        ("lab workshop re", ["reset"]),
        ("lab exec --name none o", ["outside"]),
    ],
)
def test_words_that_are_known_beforehand(line: str, words: list[str]) -> None:
    assert offered(line) == words


def test_names_of_what_is_there() -> None:
    config = Config.model_validate(
        {
            "name": "ws-ana",
            "nodes": [{"name": name, "address": f"192.168.1.{n}"} for n, name in ((9, "m"), (8, "w"))],
        }
    )
    state = LabState("ws-ana")
    state.make()
    state.write_config(config)
    Workshop("ws", ("ana", "ben"), Config(name="ws")).save()
    assert offered("lab status --name ") == ["ws-ana"]
    assert offered("lab shell --name ws-ana ") == ["m", "w"]
    assert offered("lab workshop reset b") == ["ben"]
    assert offered("lab workshop status --name ") == ["ws"]
