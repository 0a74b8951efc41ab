"""Best-of-n and votes of graded and scored samples, per question."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pqm.errors import PqmError, shortened
from pqm.estimation.estimators import Bools, Floats, aggregate_all, best_of_n, vote, vote_weights


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


@dataclass(frozen=True)
class Questions:
    """Graded samples by question, sorted by question id.

    Attributes:
        names: question ids.
        clusters: the cluster of each question.
        rows: the rows of each question's samples.
        answers: the answer of each sample; samples vote together if their answers are equal texts.
        correct: whether each sample is right.
    """

    names: list[str]
    clusters: list[str]
    rows: list[NDArray[np.int64]]
    answers: NDArray[np.object_]
    correct: Bools

    @classmethod
    def of(cls, graded: pd.DataFrame, n: Sequence[int]) -> "Questions":
        """From a grade table.

        Raises:
            PqmError: a question has fewer samples than the largest n.
        """
        groups = sorted(graded.groupby("question_id").indices.items())
        for name, rows in groups:
            expect_samples(str(name), len(rows), n)
        names, places, clusters = [str(name) for name, _ in groups], [rows for _, rows in groups], graded["cluster"].to_numpy()
        answers, correct = graded["answer"].to_numpy(dtype=object), graded["correct"].to_numpy(dtype=np.bool_)
        return cls(names, [clusters[rows[0]] for rows in places], places, answers, correct)

    def best(self, scores: Floats, n: Sequence[int]) -> Floats:
        """Exact best-of-n, shapes [.., samples] to [.., questions, n]."""
        found = np.empty((*scores.shape[:-1], len(self.rows), len(n)))
        sizes = np.array([len(rows) for rows in self.rows])
        for size in np.unique(sizes):
            places = np.flatnonzero(sizes == size)
            chosen = np.stack([self.rows[place] for place in places])
            for column, k in enumerate(n):
                found[..., places, column] = best_of_n(scores[..., chosen], self.correct[chosen], k)
        return found

    def votes(self, weights: Floats, n: Sequence[int], subsets: int, seed: int) -> Floats:
        """Weighted votes of `subsets` random subsets per question and n, see `vote`; shapes [.., samples] to [.., questions, n].

        All weights are compared on the same subsets.
        """
        found = np.empty((*weights.shape[:-1], len(self.rows), len(n)))
        for place, (name, rows) in enumerate(zip(self.names, self.rows)):
            random = np.random.default_rng([seed, *name.encode()])
            found[..., place, :] = vote(list(self.answers[rows]), self.correct[rows], weights[..., rows], n, subsets, random)
        return found

    def table(self, accuracies: Floats, columns: pd.DataFrame) -> pd.DataFrame:
        """One row per question and column, with `question_id`, `cluster` and `accuracy`.

        Args:
            accuracies: shape [questions, columns].
            columns: what each column of `accuracies` is.
        """
        count = len(columns)
        keys = pd.DataFrame({"question_id": np.repeat(self.names, count), "cluster": np.repeat(self.clusters, count)})
        repeated = pd.concat([columns] * len(self.names), ignore_index=True)
        return pd.concat([keys, repeated], axis=1).assign(accuracy=accuracies.ravel())


def aggregated(step_scores: Sequence[Sequence[float] | Floats], aggregations: Sequence[str]) -> Floats:
    """The scores of solutions by each aggregation, shape [aggregations, samples]."""
    return np.stack([aggregate_all(step_scores, aggregation) for aggregation in aggregations])


def judge(
    questions: Questions, scores: Floats, aggregations: Sequence[str], n: Sequence[int], vote_subsets: int, seed: int
) -> list[pd.DataFrame]:
    """For each scorer, exact best-of-n by each aggregation, and votes weighted by the first aggregation's score, per question.

    Args:
        scores: shape [scorers, aggregations, samples], see `aggregated`.
        vote_subsets: random subsets per question and n, see `vote`.
    """
    best, first = questions.best(scores, n), aggregations[0]
    votes = questions.votes(vote_weights(scores[:, 0], first), n, vote_subsets, seed)
    kinds = [("best", aggregation) for aggregation in aggregations] + [("vote", first)]
    columns = pd.DataFrame([(*kind, k) for kind in kinds for k in n], columns=["kind", "aggregation", "n"])
    found = np.concatenate([*np.moveaxis(best, 1, 0), votes], axis=-1)
    return [questions.table(of_scorer, columns) for of_scorer in found]


def expect_samples(name: str, samples: int, n: Sequence[int]) -> None:
    """Check that a question has enough samples.

    Raises:
        PqmError: it has fewer samples than the largest n.
    """
    if samples < max(n):
        raise PqmError(f"question {shortened(name)}: {samples} samples, but n = {max(n)}; sample more or use a smaller n")
