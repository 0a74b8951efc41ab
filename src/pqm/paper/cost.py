"""What the study's stages took, from Snakemake's benchmark files and the stages' own counters."""

from pathlib import Path

import pandas as pd

from pqm.errors import PqmError
from pqm.paper.study import Study

STAGES = ("questions", "policies", "rollouts", "labels", "train", "evaluate")


def records(benchmarks: Path) -> pd.DataFrame:
    """One row a job: stage, its file below the stage's folder, seconds, CPU seconds and peak memory in MB."""
    rows = []
    for path in sorted(benchmarks.rglob("*.tsv")):
        record = pd.read_csv(path, sep="\t", na_values=["-", "NA"]).iloc[0]
        stage, *job = path.relative_to(benchmarks).with_suffix("").parts
        rows.append(
            {
                "stage": stage,
                "job": "/".join(job),
                "seconds": float(record["s"]),
                "cpu_seconds": float(record["cpu_time"]),
                "peak_mb": float(record["max_rss"]),
            }
        )
    if not rows:
        raise PqmError(f"{benchmarks}: holds no benchmark file; build something first")
    return pd.DataFrame(rows)


def summary(jobs: pd.DataFrame) -> pd.DataFrame:
    """One row a stage: jobs, seconds and CPU seconds in all, the longest job and the highest memory."""
    groups = jobs.groupby("stage", sort=False)
    return pd.DataFrame(
        {
            "jobs": groups.size(),
            "cpu_seconds": groups["cpu_seconds"].sum(),
            "seconds": groups["seconds"].sum(),
            "longest_seconds": groups["seconds"].max(),
            "peak_mb": groups["peak_mb"].max(),
        }
    ).reset_index()


def ledger(study: Study) -> pd.DataFrame:
    """`summary` of the stages that make data and models, with the tokens that each read or wrote."""
    table = summary(records(study.results / "benchmarks")).set_index("stage")
    table = table.loc[[stage for stage in STAGES if stage in table.index]]
    counters = {stage: _tokens(study, stage) for stage in table.index}
    table.insert(1, "tokens", [counters[stage][0] for stage in table.index])
    table.insert(2, "counted", [counters[stage][1] for stage in table.index])
    return table.reset_index()


def _tokens(study: Study, stage: str) -> tuple[int, str]:
    """A stage's own count of tokens, and what was counted."""
    if stage == "policies":
        files = sorted((study.data / "pretraining").glob("*/snapshots.csv"))
        return sum(int(pd.read_csv(path)["tokens"].iloc[-1]) for path in files), "trained on"
    if stage == "rollouts":
        return _sampled(study), "sampled"
    if stage == "labels":
        files = sorted((study.data / "labels").glob("*.parquet"))
        return sum(int(pd.read_parquet(path, columns=["completion_tokens"]).to_numpy().sum()) for path in files), "completed"
    if stage == "train":
        return sum(study.facts(run, seed)["tokens"] for run in study.runs for seed in study.seeds(run)), "trained on"
    if stage == "evaluate":
        scored = [*study.evaluation.benchmarks, study.evaluation.validation, study.evaluation.audit]
        sizes = [int(study.rollouts(policy, name)["n_tokens"].sum()) for policy in study.evaluation.policies for name in scored]
        scorers = len(sorted((study.results / "benchmarks" / "evaluate").rglob("scores-*.tsv")))
        return sum(sizes) * scorers, "scored, before what solutions share is read once"
    return 0, ""


def _sampled(study: Study) -> int:
    files = sorted((study.data / "rollouts").glob("*/*.parquet"))
    return sum(int(pd.read_parquet(path, columns=["n_tokens"]).to_numpy().sum()) for path in files)


def seconds_a_sample(study: Study, runs: list[str]) -> pd.DataFrame:
    """CPU seconds to sample and to score one solution of each cell: policy, benchmark, sampling, scoring (a run's mean job)."""
    jobs = records(study.results / "benchmarks").set_index(["stage", "job"])["cpu_seconds"]
    sampled = {
        (policy, name): len(study.rollouts(policy, name))
        for policy in study.evaluation.policies
        for name in (*study.evaluation.benchmarks, study.evaluation.validation, study.evaluation.audit)
    }
    scored = [jobs[("evaluate", f"{run}/scores-seed-{seed}")] for run in runs for seed in study.seeds(run)]
    scoring = sum(scored) / len(scored) / sum(sampled.values())
    return pd.DataFrame(
        [
            {
                "policy": policy,
                "benchmark": benchmark,
                "sampling": jobs[("rollouts", f"{policy}/{benchmark}")] / sampled[policy, benchmark],
                "scoring": scoring,
            }
            for policy, benchmark in study.cells
        ]
    )
