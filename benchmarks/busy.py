"""Each stage beside a busy core; those with two threads with OMP_WAIT_POLICY=PASSIVE, as set by `pqm`, and without it.

    python benchmarks/busy.py

On a machine with more than two cores, run it with `taskset -c 0,1`: the busy core must be one of the two that the stage uses.
"""

import json
import sys
from contextlib import nullcontext
from pathlib import Path

import bench
from bench import BusyCore, Row
from stages import LEAST_SECONDS, NAMES, TORCH

THREADS = 2
TWO_THREADS = dict.fromkeys(bench.ONE_THREAD, str(THREADS))
PASSIVE = {"OMP_WAIT_POLICY": "PASSIVE"}


def wall_seconds(stage: str, busy: bool, passive: bool) -> float:
    """The wall-clock seconds of a stage in a process of its own."""
    script, variables = Path(__file__).with_name("stages.py"), TWO_THREADS | (PASSIVE if passive else {})
    with BusyCore() if busy else nullcontext():
        used = bench.command(sys.executable, script, stage, "1", str(THREADS), env=variables)
    return float(json.loads(used.output.splitlines()[-1])["wall"])


def measure() -> list[Row]:
    """A row per stage: its time beside a busy core and alone; without the wait policy, a second row for stages with threads."""
    rows = []
    for stage in NAMES:
        for passive in (True, False) if stage in TORCH else (True,):
            alone, beside = (wall_seconds(stage, busy, passive) for busy in (False, True))
            policy = ", OMP_WAIT_POLICY=PASSIVE" if passive else ", no wait policy"
            used = f"OMP_NUM_THREADS={THREADS}, {THREADS} torch threads" if stage in TORCH else "does not use torch"
            rows.append(
                Row(
                    "busy", f"{stage}{policy if stage in TORCH else ''}: beside a busy core, against alone", beside, alone, "s",
                    alone / beside, ">= 0.4" if passive else "",
                    f"{used}; wall-clock, mean of runs over {LEAST_SECONDS:g} s after a warm-up",
                )
            )  # fmt: skip
    return rows


if __name__ == "__main__":
    bench.main(measure)
