"""Best-of-n and votes of graded and scored samples, per question."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pqm.errors import PqmError, shortened
from pqm.estimation.estimators import aggregate, best_of_n, vote, vote_weights


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
            f"{source}: question {shortened(first.question_id)}, sample {first.sample_id}: no score;"
            " expected one per graded sample"
        )
    return joined


def judge(
    joined: pd.DataFrame, aggregations: Sequence[str], n: Sequence[int], vote_subsets: int, seed: int
) -> list[dict[str, Any]]:
    """Exact best-of-n by each aggregation, and votes weighted by the first aggregation's score, per question.

    Args:
        joined: graded samples with `step_scores`, see `join`. Samples vote together if their answers are equal texts.
        vote_subsets: random subsets per question and n, see `vote`.

    Raises:
        PqmError: a question has fewer samples than the largest n.
    """
    rows = []
    for question_id, group in joined.groupby("question_id", sort=True):
        expect_samples(group, n)
        correct = group["correct"].to_numpy()
        key = {"question_id": question_id, "cluster": group["cluster"].iloc[0]}
        scores = {name: np.array([aggregate(steps, name) for steps in group["step_scores"]]) for name in aggregations}
        for name, values in scores.items():
            rows += [key | {"kind": "best", "aggregation": name, "n": k, "accuracy": best_of_n(values, correct, k)} for k in n]
        first = aggregations[0]
        weights, random = vote_weights(scores[first], first), random_draws(seed, str(question_id))
        votes = vote(list(group["answer"]), correct, weights, n, vote_subsets, random)
        rows += [key | {"kind": "vote", "aggregation": first, "n": k, "accuracy": value} for k, value in zip(n, votes)]
    return rows


def expect_samples(group: pd.DataFrame, n: Sequence[int]) -> None:
    """Check that a question has enough samples.

    Raises:
        PqmError: it has fewer samples than the largest n.
    """
    if len(group) < max(n):
        name = group["question_id"].iloc[0]
        raise PqmError(f"question {shortened(name)}: {len(group)} samples, but n = {max(n)}; sample more or use a smaller n")


def random_draws(seed: int, question_id: str) -> np.random.Generator:
    """A random generator per question, the same for all methods, so that they are compared on the same subsets."""
    return np.random.default_rng([seed, *question_id.encode()])
