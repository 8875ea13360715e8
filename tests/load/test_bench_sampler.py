"""The sampler sees what uses CPU time."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

from load.bench.processes import REPOSITORY
from load.bench.sampler import Samples

if TYPE_CHECKING:
    from pathlib import Path

BURN = """
import sys, time
from pathlib import Path
from load.bench import sampler

def burn():
    while time.process_time() < 0.5:
        pass

def idle():
    time.sleep(0.2)

sampler.install(Path(sys.argv[1]))
idle()
burn()
"""


def test_cpu_time_is_sampled_and_sleep_is_not(tmp_path: Path) -> None:
    """A function that burns is most of the samples; one that sleeps is none."""
    path = tmp_path / "samples.json"
    subprocess.run([sys.executable, "-c", BURN, str(path)], cwd=REPOSITORY, check=True, timeout=60)
    said = json.loads(path.read_text())
    assert said["total"] >= 10
    assert said["own"]["<string>.burn"] >= 0.8 * said["total"]
    assert "<string>.idle" not in said["own"]
    assert said["inclusive"]["<string>.<module>"] >= said["own"]["<string>.burn"]


def test_recursion_counts_once() -> None:
    """Inclusive time is at most all of the time."""
    samples = Samples()

    def again(depth: int) -> None:
        if depth:
            again(depth - 1)
        else:
            samples.add(sys._getframe())

    again(5)
    assert samples.total == 1
    assert max(samples.inclusive.values()) == 1
    assert sum(samples.own.values()) == 1
