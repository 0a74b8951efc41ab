"""Best-of-n and votes of graded and scored samples, per question."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pqm.errors import PqmError
from pqm.estimation.estimators import aggregate, best_of_n, probability, vote


def join(grades: pd.DataFrame, scores: pd.DataFrame, source: Path) -> pd.DataFrame:
    """Join grades with step scores.

    Args:
        source: path of the score table, for messages.

    Raises:
        PqmError: a sample has no score; the message names question and sample.
    """
    joined = grades.merge(scores[["question_id", "sample_id", "step_scores"]], on=["question_id", "sample_id"], how="left")
    bare = joined["step_scores"].isna()
    if bare.any():
        first = joined[bare].iloc[0]
        raise PqmError(
            f"{source}: question {first.question_id!r}, sample {first.sample_id}: no score; expected one per graded sample"
        )
    return joined


def judge(
    joined: pd.DataFrame, aggregations: Sequence[str], n: Sequence[int], vote_subsets: int, seed: int
) -> list[dict[str, Any]]:
    """Exact best-of-n by each aggregation, and votes weighted by sigma of the first aggregation's score, per question.

    Args:
        joined: graded samples with `step_scores`, see `join`.
        vote_subsets: random subsets per question and n, see `vote`.

    Raises:
        PqmError: a question has fewer samples than the largest n.
    """
    rows = []
    for question_id, group in joined.groupby("question_id", sort=True):
        expect_samples(group, n)
        correct = group["correct"].to_numpy()
        key = {"question_id": question_id, "cluster": group["cluster"].iloc[0]}
        for aggregation in aggregations:
            scores = np.array([aggregate(steps, aggregation) for steps in group["step_scores"]])
            rows += [
                key | {"kind": "best", "aggregation": aggregation, "n": k, "accuracy": best_of_n(scores, correct, k)} for k in n
            ]
        logits = np.array([aggregate(steps, aggregations[0]) for steps in group["step_scores"]])
        votes = vote(list(group["answer"]), correct, probability(logits), n, vote_subsets, random_draws(seed, str(question_id)))
        rows += [key | {"kind": "vote", "aggregation": aggregations[0], "n": k, "accuracy": value} for k, value in zip(n, votes)]
    return rows


def expect_samples(group: pd.DataFrame, n: Sequence[int]) -> None:
    """Check that a question has enough samples.

    Raises:
        PqmError: it has fewer samples than the largest n.
    """
    if len(group) < max(n):
        name = group["question_id"].iloc[0]
        raise PqmError(f"question {name!r}: {len(group)} samples, but n = {max(n)}; sample more or use a smaller n")


def random_draws(seed: int, question_id: str) -> np.random.Generator:
    """A random generator per question, the same for all methods, so that they are compared on the same subsets."""
    return np.random.default_rng([seed, *question_id.encode()])
