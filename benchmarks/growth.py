"""How the CPU seconds of each stage grow with its work: the exponent between once and three times the work.

    python benchmarks/growth.py

The chart `docs/performance-growth.svg` shows the same.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import bench
import numpy as np
from bench import Row
from matplotlib.figure import Figure
from stages import NAMES, TORCH, Stages

TIMES = (1, 3)
CHART = bench.ROOT / "docs/performance-growth.svg"
Seconds = dict[int, float]  # CPU seconds by the multiple of the work


def exponent(seconds: Seconds) -> float:
    """The slope of a line through the logarithms of work and seconds; 1 is linear growth, and a fixed cost makes it smaller."""
    return float(np.polyfit(np.log(list(seconds)), np.log(list(seconds.values())), 1)[0])


def draw(growth: dict[str, Seconds], path: Path) -> None:
    """A line per stage on logarithmic axes, in multiples of the work and seconds at the first point, beside linear growth."""
    figure = Figure(figsize=(6.5, 4), layout="constrained")
    axis = figure.subplots()
    for number, (name, seconds) in enumerate(growth.items()):
        first_work, first = next(iter(seconds.items()))
        work, times = [one / first_work for one in seconds], [one / first for one in seconds.values()]
        axis.plot(work, times, marker="os^Dv"[number % 5], markersize=5, label=f"{name}: {exponent(seconds):.2f}")
    ticks = [one / first_work for one in seconds]
    axis.plot(ticks, ticks, color="black", linewidth=1, linestyle=":", label="linear: 1")
    axis.set(xscale="log", yscale="log", xlabel="work", ylabel="CPU seconds, as a multiple of the first")
    for along in (axis.xaxis, axis.yaxis):
        along.set_ticks(ticks, [f"{tick:g} x" for tick in ticks])
        along.set_ticks([], minor=True)
    axis.legend(title="exponent", fontsize=8, title_fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    axis.spines[["right", "top"]].set_visible(False)
    figure.savefig(path, metadata={"Date": None})


def rows(part: str, times: Sequence[int], repeats: int, chart: Path) -> list[Row]:
    """One row per stage at multiples of its work, and the chart."""
    found, growth = [], {}
    for name in NAMES:
        with tempfile.TemporaryDirectory() as folder:
            stages = Stages(Path(folder))
            prepare = getattr(stages, name)
            taken = bench.cpu_seconds(*(prepare(size) for size in times), repeats=repeats)
        growth[name] = dict(zip(times, taken))
        note = f"{prepare.__doc__.rstrip('.')}: " + ", ".join(f"{size} x {one:.2f} CPU-s" for size, one in growth[name].items())
        note += f"; {stages.model_name}" if name in TORCH else ""
        found.append(Row(part, f"{name}: exponent of growth", exponent(growth[name]), unit="", goal="<= 1.1", note=note))
    draw(growth, chart)
    return found


def measure() -> list[Row]:
    """One row per stage at once and three times its work."""
    return rows("growth", TIMES, bench.REPEATS, CHART)


if __name__ == "__main__":
    bench.main(measure)
