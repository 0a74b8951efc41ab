"""How the CPU seconds of each stage grow with its work: the exponent between once and three times the work.

python benchmarks/growth.py
"""

import math
import tempfile
from pathlib import Path

import bench
from bench import Row
from stages import NAMES, TORCH, Stages

TIMES = 3


def measure() -> list[Row]:
    """One row per stage; an exponent of 1 is linear growth, and a fixed cost makes it smaller."""
    rows = []
    for name in NAMES:
        with tempfile.TemporaryDirectory() as folder:
            stages = Stages(Path(folder))
            prepare = getattr(stages, name)
            once, more = bench.cpu_seconds(prepare(1), prepare(TIMES))
        note = f"{prepare.__doc__.rstrip('.')}: {once:.2f} CPU-s, {TIMES} times as much {more:.2f}"
        note += f"; {stages.model_name}" if name in TORCH else ""
        rows.append(Row("growth", f"{name}: exponent of growth", math.log(more / once, TIMES), unit="", note=note))
    return rows


if __name__ == "__main__":
    bench.main(measure)
