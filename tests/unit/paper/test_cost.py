"""Time and memory of jobs, and compute per sample."""

import shutil
from pathlib import Path

import pandas as pd
import pytest
from made_study import BENCHMARKS, POLICIES, SETS, rows_of, write_benchmark

from pqm.errors import PqmError
from pqm.paper.cost import ledger, records, seconds_per_sample, summary
from pqm.paper.results import Results


def test_cost_sums_jobs_and_counters(made):
    rows = rows_of(made, "cost").set_index("stage")
    assert rows.loc["train", ["jobs", "cpu_seconds", "seconds", "longest_seconds", "tokens"]].tolist() == [7, 21, 42, 6, 7000]
    assert rows.loc["policies", "tokens"] == 4000
    sampled = sum(made.rollouts(policy, name)["n_tokens"].sum() for policy in POLICIES for name in SETS)
    assert rows.loc["rollouts", "tokens"] == sampled
    weak = sum(made.rollouts("weak", name)["n_tokens"].sum() for name in SETS)
    assert (
        rows.loc["evaluate", "tokens"] == (6 + 2) * sampled + weak
    )  # six checkpoints and two references; one scores `weak` only
    jobs = records(Path(made.layout.benchmarks))
    assert summary(jobs)["jobs"].sum() == len(jobs)


@pytest.fixture
def copied(made, tmp_path):
    """The study with its own copy of the benchmark files."""
    folder = Path(made.layout.results)
    shutil.copytree(folder, tmp_path / "results", ignore=shutil.ignore_patterns("checkpoints", "figures", "tables"))
    for name in ("checkpoints", "figures", "tables"):
        (tmp_path / "results" / name).symlink_to(folder / name)
    return Results(made.file, Path(made.layout.data), tmp_path / "results")


def test_jobs_of_a_run_or_seed_that_was_removed_from_the_study_are_not_counted(made, copied):
    benchmarks = Path(copied.layout.benchmarks)
    for job in (
            "train/gone/seed-0", "train/bce/seed-9", "evaluate/gone/scores", "paper/tables/main", "policies/backbone-gone",
            "questions/gone", "rollouts/gone/test", "evaluate/references/scores-gone",
        ):  # fmt: skip
        write_benchmark(benchmarks / f"{job}.tsv", 1000.0)
    pd.testing.assert_frame_equal(ledger(copied), ledger(made))
    write_benchmark(benchmarks / "evaluate/references/scores-likelihood.tsv", 1000.0)
    assert ledger(copied)["seconds"].sum() == ledger(made)["seconds"].sum() + 1000


def test_cells_without_a_record_of_their_sampling_are_left_out_of_compute(copied):
    benchmarks, runs = Path(copied.layout.benchmarks), ["bce", "pqm-zeta4"]
    assert len(seconds_per_sample(copied, runs)) == len(POLICIES) * len(BENCHMARKS)
    (benchmarks / "rollouts/weak/test.tsv").unlink()
    left = seconds_per_sample(copied, runs)
    assert list(zip(left["policy"], left["benchmark"])) == [("strong", "test"), ("weak", "perturbed"), ("strong", "perturbed")]
    shutil.rmtree(benchmarks / "evaluate/bce")
    assert seconds_per_sample(copied, runs)["scoring"].to_numpy() == pytest.approx(left["scoring"].to_numpy())
    with pytest.raises(PqmError, match="benchmarks/evaluate: no timing of scoring bce; score one of them first"):
        seconds_per_sample(copied, ["bce"])


def test_a_truncated_benchmark_record_is_named(tmp_path):
    write_benchmark(tmp_path / "train/bce/seed-0.tsv", 1.0)
    (tmp_path / "train/bce/seed-1.tsv").write_text("")
    with pytest.raises(PqmError, match=r"seed-1\.tsv"):
        records(tmp_path)
