"""`lab up` killed or interrupted at any moment: `lab down` leaves nothing, and `lab up` succeeds."""

from __future__ import annotations

import random
import time

import pytest
from harness import Lab, MakeLab, wait_until_gone

INTERRUPTED = 130
# A bring-up takes about a minute: machines, then the control plane, then what runs in the cluster.
MOMENTS = ((0.2, 5.0), (5.0, 25.0), (25.0, 55.0))


def kill_up_after(lab: Lab, seconds: float) -> None:
    process = lab.start("up", "--name", lab.name, "--config", str(lab.root / "lab.yaml"))
    time.sleep(seconds)
    process.kill()
    process.wait(10)


@pytest.fixture
def lab(make_lab: MakeLab) -> Lab:
    lab = make_lab("killed")
    (lab.root / "lab.yaml").write_text("provider: uml\n")
    return lab


@pytest.fixture
def moment() -> random.Random:
    seed = time.time_ns()
    print(f"seed {seed}")
    return random.Random(seed)


@pytest.mark.timeout(400)
def test_down_leaves_nothing_of_a_killed_up(lab: Lab, moment: random.Random) -> None:
    for earliest, latest in MOMENTS:
        after = moment.uniform(earliest, latest)
        kill_up_after(lab, after)

        lab.named("down", timeout=120).assert_success()

        assert wait_until_gone(lab) == [], f"killed after {after:.2f} s"


@pytest.mark.timeout(500)
def test_up_succeeds_after_a_killed_up(lab: Lab, moment: random.Random) -> None:
    after = moment.uniform(3, 50)
    kill_up_after(lab, after)

    result = lab.named("up", "--config", str(lab.root / "lab.yaml"), timeout=400).assert_success()

    status = lab.named("status", "-o", "json").assert_success().json()
    assert status["nodes"], str(result)
    lab.named("down", timeout=120).assert_success()
    assert wait_until_gone(lab) == [], f"killed after {after:.2f} s"


@pytest.mark.timeout(200)
@pytest.mark.parametrize("step", ["Starting the machines", "Forming the cluster"])
def test_ctrl_c_says_what_it_leaves_and_how_to_go_on(lab: Lab, step: str) -> None:
    config = str(lab.root / "lab.yaml")

    result = lab.interrupted("up", "--name", lab.name, "--config", config, after=f"{step} …")

    result.assert_exit(INTERRUPTED)
    assert f"interrupted while: {step}. Left: master " in result.stderr, str(result)
    assert f"`lab up --name {lab.name}` starts over with fresh machines" in result.stderr, str(result)
    assert f"`lab down --name {lab.name}` takes all of it away" in result.stderr, str(result)
    lab.named("down", timeout=120).assert_success()
    assert wait_until_gone(lab) == []
