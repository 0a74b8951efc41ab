"""What the study's stages took, from Snakemake's benchmark files and the stages' own counters."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from pqm.errors import PqmError
from pqm.paper.study import Study

STAGES = ("questions", "policies", "rollouts", "labels", "train", "evaluate")


def records(benchmarks: Path, stages: Sequence[str] | None = None) -> pd.DataFrame:
    """One row a job: stage, its file below the stage's folder, seconds, CPU seconds and peak memory in MB.

    Args:
        stages: only these, else all.

    Raises:
        PqmError: there is no record, or one was cut.
    """
    rows = []
    for path in sorted(benchmarks.rglob("*.tsv")):
        stage, *job = path.relative_to(benchmarks).with_suffix("").parts
        if stages is not None and stage not in stages:
            continue
        try:
            record = pd.read_csv(path, sep="\t", na_values=["-", "NA"]).iloc[0]
        except (pd.errors.EmptyDataError, IndexError):
            raise PqmError(f"{path}: no benchmark record, probably cut while it was written; rerun its job") from None
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
    jobs = records(study.results / "benchmarks", STAGES)
    # A run or a seed that the study no longer has may have left its record.
    of_run = {f"{run}/{job}" for run in study.runs for seed in study.seeds(run) for job in (f"seed-{seed}", "scores", "metrics")}
    known = ~jobs["stage"].isin(["train", "evaluate"]) | jobs["job"].isin(of_run) | jobs["job"].str.startswith("references/")
    table = summary(jobs[known]).set_index("stage")
    table = table.loc[[stage for stage in STAGES if stage in table.index]]
    counters = {stage: _tokens(study, stage) for stage in table.index}
    table.insert(1, "tokens", [counters[stage][0] for stage in table.index])
    table.insert(2, "counted", [counters[stage][1] for stage in table.index])
    return table.reset_index()


def _tokens(study: Study, stage: str) -> tuple[int, str]:
    """A stage's own count of tokens, and what was counted."""
    if stage == "policies":
        files = [study.data / "pretraining" / name / "snapshots.csv" for name in study.settings.pretraining]
        return sum(int(pd.read_csv(path)["tokens"].iloc[-1]) for path in files), "trained on"
    if stage == "rollouts":
        sampled = [(policy, dataset) for policy in study.evaluation.policies for dataset in study.settings.rollouts]
        return sum(int(study.rollouts(*cell)["n_tokens"].sum()) for cell in sampled), "sampled"
    if stage == "labels":
        return sum(int(study.labels(name)["completion_tokens"].sum()) for name in study.settings.labels), "completed"
    checkpoints = [(run, seed) for run in study.runs for seed in study.seeds(run)]
    if stage == "train":
        return sum(study.facts(run, seed)["tokens"] for run, seed in checkpoints), "trained on"
    if stage == "evaluate":
        policies = [policy for run, _ in checkpoints for policy in study.policies(run)]
        policies += list(study.evaluation.policies) * len(study.evaluation.references)
        sizes = {
            policy: sum(int(study.rollouts(policy, name)["n_tokens"].sum()) for name in study.evaluation.scored)
            for policy in set(policies)
        }
        return sum(sizes[policy] for policy in policies), "scored, before what solutions share is read once"
    return 0, ""


def seconds_a_sample(study: Study, runs: Sequence[str]) -> pd.DataFrame:
    """Seconds to sample and to score one solution of each cell: policy, benchmark, sampling, scoring (these runs' mean job).

    Wall-clock seconds of jobs of one thread, with the seconds that a job needs to start; what is scored is scored at one rate.

    Cells whose sampling left no record are left out.

    Raises:
        PqmError: no scoring job of these runs has a record.
    """
    jobs = records(study.results / "benchmarks", ("rollouts", "evaluate")).set_index(["stage", "job"])["seconds"].to_dict()
    timed = [run for run in runs if ("evaluate", f"{run}/scores") in jobs]
    if not timed:
        raise PqmError(
            f"{study.results / 'benchmarks/evaluate'}: no timing of scoring {', '.join(runs)}; score one of them first"
        )
    sampled = {
        (policy, name): len(study.rollouts(policy, name))
        for policy in study.evaluation.policies
        for name in study.evaluation.scored
    }
    samples = [
        sampled[policy, name] * len(study.seeds(run))
        for run in timed
        for policy in study.policies(run)
        for name in study.evaluation.scored
    ]
    scoring = sum(jobs["evaluate", f"{run}/scores"] for run in timed) / sum(samples)
    return pd.DataFrame(
        [
            {
                "policy": policy,
                "benchmark": benchmark,
                "sampling": jobs["rollouts", f"{policy}/{benchmark}"] / sampled[policy, benchmark],
                "scoring": scoring,
            }
            for policy, benchmark in study.cells
            if ("rollouts", f"{policy}/{benchmark}") in jobs
        ]
    )
