"""Each stage with two threads beside a busy core, with and without OMP_WAIT_POLICY=PASSIVE.

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
CONDITIONS = [(busy, passive) for busy in (False, True) for passive in (False, True)]


def wall_seconds(stage: str, busy: bool, passive: bool) -> float:
    """The wall-clock seconds of a stage in a process of its own."""
    script, variables = Path(__file__).with_name("stages.py"), TWO_THREADS | (PASSIVE if passive else {})
    with BusyCore() if busy else nullcontext():
        used = bench.command(sys.executable, script, stage, "1", str(THREADS), env=variables)
    return float(json.loads(used.output.splitlines()[-1])["wall"])


def measure() -> list[Row]:
    """Two rows per stage: its time beside a busy core and alone, first without a wait policy and then with it."""
    rows = []
    for stage in NAMES:
        taken = {condition: wall_seconds(stage, *condition) for condition in CONDITIONS}
        used = f"OMP_NUM_THREADS={THREADS}, {THREADS} torch threads" if stage in TORCH else "does not use torch"
        for passive, policy in ((False, "no wait policy"), (True, "OMP_WAIT_POLICY=PASSIVE")):
            alone, beside = taken[False, passive], taken[True, passive]
            what = f"{stage}, {policy}: beside a busy core, against alone"
            note = f"{used}; wall-clock, mean of runs over {LEAST_SECONDS:g} s after a warm-up"
            rows.append(Row("busy", what, beside, alone, "s", alone / beside, "", note))
    return rows


if __name__ == "__main__":
    bench.main(measure)
