"""A large study: a million rollouts through grades, scores and metrics, with their peak memory, time and growth.

Every stage is also run at ten times its work; the chart `docs/performance-load.svg` shows it.

    python benchmarks/load.py [ROWS ..]

The verbs of `pqm` run one after the other, each in a process of its own. The rollouts are simulated solutions of word problems,
and the reward model is as small as possible: what grows is the work on tables, trees and batches, not the arithmetic of a model.
"""

import math
import resource
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import bench
from bench import Row

ROWS = (10_000, 100_000, 1_000_000)
SAMPLES = 100  # per question
TIMES = (1, 3, 10)  # the work of each stage
CHART = bench.ROOT / "docs/performance-load.svg"
RUN, CELL = "bce", "made"
STUDY = """
runs: {bce: {loss: bce, labels: made, backbone: made}}
evaluation:
  {policies: [made], benchmarks: [made], reference_backbone: made, n: [1, 2, 4, 8, 16, 32, 64], vote_subsets: 200, batch_tokens: 2048, seed: 0}
"""


def write(folder: Path, rows: int) -> None:
    """Write the study, its tables of questions and rollouts, and the reward model; `rows` is a multiple of `SAMPLES`."""
    import inputs

    from pqm.io import formats
    from pqm.study.pretraining import Architecture

    (folder / "load").mkdir()
    (folder / "load/study.yaml").write_text(STUDY)
    table = inputs.questions(rows // SAMPLES)
    formats.write(table, formats.QUESTIONS, folder / "questions.parquet")
    formats.write(inputs.rollouts(table, SAMPLES), formats.ROLLOUTS, folder / "rollouts.parquet")
    shape = Architecture(
        hidden_size=8, intermediate_size=8, layers=1, heads=1, key_value_heads=1, max_positions=320, initializer_range=0.06,
        rope_theta=1000.0, attention_bias=1.0,
    )  # fmt: skip
    inputs.checkpoint(inputs.language_model(folder / "backbone", shape), folder / "reward")


def verbs(folder: Path) -> dict[str, list[str]]:
    """The arguments of `pqm` for each stage."""
    tables = ["--questions", f"{folder}/questions.parquet", "--rollouts", f"{folder}/rollouts.parquet"]
    grades, scores = f"{folder}/grades/{CELL}/{CELL}.parquet", f"{folder}/scores/{RUN}/seed-0/{CELL}/{CELL}.parquet"
    study = [f"{folder}/load/study.yaml", RUN, "--seed", "0", "--results", str(folder), "--output", f"{folder}/metrics.parquet"]
    return {
        "grades": ["evaluate", "grades", *tables, "--output", grades],
        "scores": ["evaluate", "scores", f"{folder}/reward", *tables, "--output", scores, "--cache", f"{folder}/cache"],
        "metrics": ["evaluate", "metrics", *study],
    }


def run(arguments: list[str]) -> None:
    """Run `pqm` in this process, and print its peak memory in bytes."""
    from pqm.cli.__main__ import main

    sys.argv = ["pqm", *arguments]
    try:
        main()
    finally:
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)


@dataclass(frozen=True)
class Taken:
    """CPU seconds, wall-clock seconds and peak memory in bytes of a stage."""

    seconds: float
    wall: float
    memory: int


def stages(rows: int) -> dict[str, Taken]:
    """What each stage takes for `rows` rollouts."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        bench.command(sys.executable, __file__, "--write", folder, str(rows))
        for stage, arguments in verbs(Path(folder)).items():
            used = bench.command(sys.executable, __file__, "--run", *arguments)
            found[stage] = Taken(used.seconds, used.wall, int(used.output.splitlines()[-1]))
    return found


def measure(sizes: Sequence[int] = ROWS) -> list[Row]:
    """Time and memory at the largest size, growth from the size before it; and of all stages to ten times their work."""
    taken = {rows: stages(rows) for rows in sorted(sizes)}
    largest = max(taken)
    minutes = sum(one.wall for one in taken[largest].values()) / 60
    memory = max(one.memory for one in taken[largest].values()) / 2**30
    what = f"{largest:,} rollouts through {', '.join(taken[largest])}"
    rows = [
        Row("load", f"{what}: wall-clock time", minutes, unit="min", goal="< 10", note=f"{SAMPLES} samples per question"),
        Row("load", f"{what}: largest peak memory", memory, unit="GiB", goal="< 4"),
    ]
    if len(taken) == 1:
        return rows
    for stage in taken[largest]:
        parts = {size: found[stage] for size, found in taken.items()}
        (less, before), (more, after) = list(parts.items())[-2:]
        growth = math.log(after.seconds / before.seconds, more / less)
        note = "; ".join(f"{size:,}: {one.seconds:.1f} CPU-s, {one.memory / 2**20:,.0f} MB" for size, one in parts.items())
        rows.append(Row("load", f"{stage}: exponent from {less:,} to {more:,}", growth, unit="", goal="<= 1.1", note=note))
    return rows + all_stages()


def all_stages() -> list[Row]:
    """The growth of every stage to ten times its work, and its chart."""
    import growth

    return growth.rows("load", TIMES, 1, CHART)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--write"]:
        write(Path(sys.argv[2]), int(sys.argv[3]))
    elif sys.argv[1:2] == ["--run"]:
        run(sys.argv[2:])
    else:
        bench.main(partial(measure, list(map(int, sys.argv[1:])) or ROWS))
