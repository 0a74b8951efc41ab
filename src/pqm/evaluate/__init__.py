"""Stage `evaluate`: grades of the test rollouts, step scores of a checkpoint, and what best-of-n makes of them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pqm import formats
from pqm.config import EvaluationConfig, RunConfig
from pqm.errors import PqmError
from pqm.evaluate.estimators import AGGREGATIONS, aggregate, best_of_n, pass_at_n, probability, vote
from pqm.evaluate.grading import MATH_VERIFY, Grader
from pqm.evaluate.rules import same_by_rules
from pqm.evaluate.unanswerable import stated_answer
from pqm.progress import progress, say
from pqm.questions.stories import first_error

NO_SEED = -1
NOTHING = "none"
SAMPLES_A_BATCH = 2000


def grade(questions: Path, rollouts: Path, workers: int = 1) -> pd.DataFrame:
    """The answer of every sample and whether it is right; a truncated sample is wrong whatever it says."""
    table = formats.read(questions, formats.QUESTIONS).set_index("question_id")
    samples = formats.read(rollouts, formats.ROLLOUTS)
    unknown = samples.loc[~samples["question_id"].isin(table.index), "question_id"]
    if len(unknown):
        raise PqmError(f"{rollouts}: answers question {unknown.iloc[0]!r}, which {questions} does not hold")
    rows: list[dict[str, Any]] = []
    with Grader(workers=workers) as grader:
        for start in progress(range(0, len(samples), SAMPLES_A_BATCH), "grades", f"{SAMPLES_A_BATCH} samples"):
            batch = list(samples.iloc[start : start + SAMPLES_A_BATCH].itertuples())
            answers = [stated_answer(row.text) if row.finish_reason == "stop" else None for row in batch]
            golds = list(table.loc[[row.question_id for row in batch], "answer"])
            for row, answer, gold, correct in zip(batch, answers, golds, grader(list(zip(answers, golds)))):
                rows.append(
                    {
                        "question_id": row.question_id,
                        "cluster": table.at[row.question_id, "cluster"],
                        "sample_id": row.sample_id,
                        "answer": answer,
                        "correct": correct,
                        "grader": MATH_VERIFY,
                        "second_correct": same_by_rules(answer, gold),
                        "first_error": first_error(table.at[row.question_id, "question"], list(row.steps)),
                    }
                )
    if message := grader.report():
        say(f"{rollouts}: {message}")
    return pd.DataFrame(rows).astype({"first_error": "Int64"})


def join(grades: pd.DataFrame, scores: pd.DataFrame, source: Path) -> pd.DataFrame:
    """Grades with their step scores.

    Raises:
        PqmError: a sample has no score; the message names question and sample.
    """
    joined = grades.merge(scores[["question_id", "sample_id", "step_scores"]], on=["question_id", "sample_id"], how="left")
    bare = joined["step_scores"].isna()
    if bare.any():
        first = joined[bare].iloc[0]
        raise PqmError(
            f"{source}: question {first.question_id!r}, sample {first.sample_id}: no score; expected one a graded sample"
        )
    return joined


def judge(
    joined: pd.DataFrame, aggregations: Sequence[str], n: Sequence[int], vote_subsets: int, seed: int
) -> list[dict[str, Any]]:
    """Per question: exact best-of-n by each aggregation, and votes weighted by sigma of the first aggregation's score.

    Args:
        joined: graded samples with `step_scores`, see `join`.

    Raises:
        PqmError: a question has fewer samples than the largest n.
    """
    rows = []
    for question_id, group in joined.groupby("question_id", sort=True):
        _enough(group, n)
        correct = group["correct"].to_numpy()
        key = {"question_id": question_id, "cluster": group["cluster"].iloc[0]}
        for aggregation in aggregations:
            scores = np.array([aggregate(steps, aggregation) for steps in group["step_scores"]])
            rows += [
                key | {"kind": "best", "aggregation": aggregation, "n": k, "accuracy": best_of_n(scores, correct, k)} for k in n
            ]
        logits = np.array([aggregate(steps, aggregations[0]) for steps in group["step_scores"]])
        votes = vote(list(group["answer"]), correct, probability(logits), n, vote_subsets, _draws(seed, str(question_id)))
        rows += [key | {"kind": "vote", "aggregation": aggregations[0], "n": k, "accuracy": value} for k, value in zip(n, votes)]
    return rows


def run_metrics(
    name: str, run: RunConfig, config: EvaluationConfig, seeds: Sequence[int], grades: Path, scores: Path
) -> pd.DataFrame:
    """The metrics of one run's seeds over every policy and benchmark.

    Args:
        grades: folder of `{policy}/{benchmark}.parquet`.
        scores: folder of `seed-{seed}/{policy}/{benchmark}.parquet`.
    """
    aggregations = (
        [run.aggregation] if run.loss == "orm" else [run.aggregation, *(one for one in AGGREGATIONS if one != run.aggregation)]
    )
    rows = []
    policies = run.policies or config.policies
    cells = [(policy, benchmark, seed) for policy in policies for benchmark in config.benchmarks for seed in seeds]
    for policy, benchmark, seed in progress(cells, f"metrics of {name}", "cell"):
        source = scores / f"seed-{seed}" / policy / f"{benchmark}.parquet"
        joined = join(_read_grades(grades, policy, benchmark), formats.read(source, formats.SCORES), source)
        methods = {"best": name, "vote": f"{name}+self-consistency"}
        key = {"policy": policy, "benchmark": benchmark, "backbone": run.backbone, "seed": seed}
        for row in judge(joined, aggregations, config.n, config.vote_subsets, config.seed):
            rows.append(key | row | {"method": methods[row["kind"]]})
    return pd.DataFrame(rows)


def reference_metrics(config: EvaluationConfig, grades: Path, rollouts: Path, scores: Path) -> pd.DataFrame:
    """What no reward model is needed for: chance, pass@n, self-consistency, likelihoods and the backbone's own mark.

    Args:
        scores: folder of `{kind}/{policy}/{benchmark}.parquet` for the reference backbone.
    """
    rows: list[dict[str, Any]] = []
    for policy in config.policies:
        for benchmark in config.benchmarks:
            graded = _read_grades(grades, policy, benchmark)
            cell = {"policy": policy, "benchmark": benchmark, "seed": NO_SEED}
            for method, backbone, joined in _reference_scores(config, graded, policy, benchmark, rollouts, scores):
                best = [row for row in judge(joined, ["min" if method == "proofreader" else "last"], config.n, 1, config.seed)]
                rows += [cell | row | {"method": method, "backbone": backbone} for row in best if row["kind"] == "best"]
            rows += [cell | row | {"backbone": NOTHING, "aggregation": NOTHING} for row in _counted(graded, config)]
    return pd.DataFrame(rows)


def _reference_scores(
    config: EvaluationConfig, graded: pd.DataFrame, policy: str, benchmark: str, rollouts: Path, scores: Path
) -> list[tuple[str, str, pd.DataFrame]]:
    own = formats.read(rollouts / policy / f"{benchmark}.parquet", formats.ROLLOUTS)
    found = []
    if own["log_likelihood"].isna().any():
        say(f"{policy}, {benchmark}: samples without log_likelihood; the reference policy-likelihood is left out")
    else:
        own["step_scores"] = own["log_likelihood"].map(lambda value: [value])
        found.append(("policy-likelihood", NOTHING, join(graded, own, rollouts)))
    for kind in config.references:
        method = "backbone-likelihood" if kind == "likelihood" else kind
        path = scores / kind / policy / f"{benchmark}.parquet"
        found.append((method, config.reference_backbone, join(graded, formats.read(path, formats.SCORES), path)))
    return found


def _counted(graded: pd.DataFrame, config: EvaluationConfig) -> list[dict[str, Any]]:
    """Chance, pass@n and self-consistency, question by question."""
    rows = []
    for question_id, group in graded.groupby("question_id", sort=True):
        _enough(group, config.n)
        correct = group["correct"].to_numpy()
        key = {"question_id": question_id, "cluster": group["cluster"].iloc[0]}
        share = float(correct.mean())
        votes = vote(
            list(group["answer"]),
            correct,
            np.ones(len(group)),
            config.n,
            config.vote_subsets,
            _draws(config.seed, str(question_id)),
        )
        rows.append(key | {"method": "pass@1", "n": 1, "accuracy": share})
        for n, voted in zip(config.n, votes):
            rows.append(key | {"method": "random", "n": n, "accuracy": share})
            rows.append(key | {"method": "pass@n", "n": n, "accuracy": pass_at_n(correct, n)})
            rows.append(key | {"method": "self-consistency", "n": n, "accuracy": voted})
    return rows


def _read_grades(grades: Path, policy: str, benchmark: str) -> pd.DataFrame:
    return formats.read(grades / policy / f"{benchmark}.parquet", formats.GRADES)


def _enough(group: pd.DataFrame, n: Sequence[int]) -> None:
    if len(group) < max(n):
        name = group["question_id"].iloc[0]
        raise PqmError(
            f"question {name!r}: {len(group)} samples, but n = {max(n)} is asked for; sample more or ask for a smaller n"
        )


def _draws(seed: int, question_id: str) -> np.random.Generator:
    """The same subsets of a question for every method, so that methods are compared on equal draws."""
    return np.random.default_rng([seed, *question_id.encode()])
