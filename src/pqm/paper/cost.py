"""The cost of a study's jobs, from Snakemake's benchmark files and the tokens that the stages counted."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

from pqm.errors import PqmError
from pqm.paper.results import Results
from pqm.study.layout import ANNOTATED, REFERENCES

STAGES = ("questions", "policies", "rollouts", "labels", "train", "evaluate")


def records(benchmarks: Path, stages: Sequence[str] | None = None) -> pd.DataFrame:
    """One row per job: stage, its file below the stage's folder, seconds, CPU seconds and peak memory in MB.

    Args:
        benchmarks: the folder of Snakemake's benchmark files.
        stages: only these, else all.

    Raises:
        PqmError: there is no record, or one is incomplete.
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
        raise PqmError(f"{benchmarks}: contains no benchmark file; build something first")
    return pd.DataFrame(rows)


def summary(jobs: pd.DataFrame) -> pd.DataFrame:
    """One row per stage: jobs, the sums of seconds and CPU seconds, the longest job and the highest memory."""
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


def ledger(results: Results) -> pd.DataFrame:
    """`summary` of the stages that make data and models, with the number of tokens that each read or wrote."""
    jobs = records(Path(results.layout.benchmarks), STAGES)
    known = _jobs_of(results)
    table = summary(jobs[[job in known for job in zip(jobs["stage"], jobs["job"])]]).set_index("stage")
    table = table.loc[[stage for stage in STAGES if stage in table.index]]
    counts = {stage: _tokens(results, stage) for stage in table.index}
    table.insert(1, "tokens", [counts[stage][0] for stage in table.index])
    table.insert(2, "counted", [counts[stage][1] for stage in table.index])
    return table.reset_index()


def _jobs_of(results: Results) -> set[tuple[str, str]]:
    """Stage and benchmark file of every job of the study. The folder may have files of items that were removed from the study."""
    settings, evaluation = results.settings, results.evaluation
    models: dict[str, Iterable[str]] = {
        "pretraining": settings.pretraining,
        "policy": settings.policies,
        "backbone": settings.backbones,
    }
    jobs = {
        "questions": list(settings.questions),
        "policies": [f"{kind}-{name}" for kind, names in models.items() for name in names],
        "rollouts": [
            *(f"{policy}/{dataset}" for policy in evaluation.policies for dataset in settings.rollouts),
            *(f"{ANNOTATED}/{dataset}" for dataset in settings.annotated),
        ],
        "labels": list(settings.labels),
        "train": [scorer for run in results.runs for scorer in results.scorers(run)],
        "evaluate": [
            *(f"{run}/{job}" for run in [*results.runs, REFERENCES] for job in ("scores", "metrics")),
            *(f"{REFERENCES}/scores-{kind}" for kind in evaluation.references),
            *(f"{REFERENCES}/grades/{policy}/{dataset}" for policy in evaluation.policies for dataset in evaluation.scored),
            *(
                f"{run}/annotated-{seed}-{dataset}"
                for run in results.runs
                for seed in results.seeds(run)
                for dataset in evaluation.annotated
            ),
        ],
    }
    return {(stage, job) for stage, names in jobs.items() for job in names}


def _tokens(results: Results, stage: str) -> tuple[int, str]:
    """The tokens that a stage counted, and what it counted."""
    evaluation, checkpoints = results.evaluation, [(run, seed) for run in results.runs for seed in results.seeds(run)]
    if stage == "policies":
        files = [Path(results.layout.snapshots(name)) for name in results.settings.pretraining]
        return sum(int(pd.read_csv(path)["tokens"].iloc[-1]) for path in files), "trained on"
    if stage == "rollouts":
        return _sampled(results, evaluation.policies, results.settings.rollouts), "sampled"
    if stage == "labels":
        return sum(int(results.labels(name)["completion_tokens"].sum()) for name in results.settings.labels), "completed"
    if stage == "train":
        return sum(results.facts(run, seed)["tokens"] for run, seed in checkpoints), "trained on"
    if stage == "evaluate":
        policies = [policy for run, _ in checkpoints for policy in results.policies(run)]
        policies += list(evaluation.policies) * len(evaluation.references)
        sizes = {policy: _sampled(results, [policy], evaluation.scored) for policy in set(policies)}
        return sum(sizes[policy] for policy in policies), "scored, shared beginnings counted each time"
    return 0, ""


def _sampled(results: Results, policies: Sequence[str], datasets: Iterable[str]) -> int:
    """Tokens of some policies' rollouts on some data sets."""
    return sum(int(results.rollouts(policy, dataset)["n_tokens"].sum()) for policy in policies for dataset in datasets)


def seconds_per_sample(results: Results, runs: Sequence[str]) -> pd.DataFrame:
    """Seconds to sample and to score one solution, one row per cell: policy, benchmark, sampling, scoring.

    Wall-clock seconds of jobs of one thread, start-up included. Scoring has one rate for all cells, the mean over these runs.
    Cells without a benchmark record of their sampling are left out.

    Raises:
        PqmError: no scoring job of these runs has a record.
    """
    benchmarks, evaluation = Path(results.layout.benchmarks), results.evaluation
    jobs = records(benchmarks, ("rollouts", "evaluate")).set_index(["stage", "job"])["seconds"].to_dict()
    timed = [run for run in runs if ("evaluate", f"{run}/scores") in jobs]
    if not timed:
        raise PqmError(f"{benchmarks / 'evaluate'}: no timing of scoring {', '.join(runs)}; score one of them first")
    cells = [(policy, dataset) for policy in evaluation.policies for dataset in evaluation.scored]
    samples = {cell: len(results.rollouts(*cell)) for cell in cells}
    scored = sum(
        samples[policy, dataset] * len(results.seeds(run))
        for run in timed
        for policy in results.policies(run)
        for dataset in evaluation.scored
    )
    scoring = sum(jobs["evaluate", f"{run}/scores"] for run in timed) / scored
    return pd.DataFrame(
        [
            {
                "policy": policy,
                "benchmark": benchmark,
                "sampling": jobs["rollouts", f"{policy}/{benchmark}"] / samples[policy, benchmark],
                "scoring": scoring,
            }
            for policy, benchmark in results.cells
            if ("rollouts", f"{policy}/{benchmark}") in jobs
        ]
    )
