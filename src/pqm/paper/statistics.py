"""Intervals: a paired bootstrap over question clusters and training seeds."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pqm import formats
from pqm.errors import PqmError
from pqm.evaluate import join, judge
from pqm.evaluate.estimators import AGGREGATIONS

CELL = ["policy", "benchmark", "backbone", "method", "aggregation", "n"]


class Bootstrap:
    """Resamples of one benchmark's question clusters, the same for every method, so that comparisons are paired.

    A resample draws as many clusters as there are, with replacement; a question weighs how often its cluster was drawn.
    A method's training seeds are drawn with replacement too (a hierarchical bootstrap).
    """

    def __init__(self, clusters: pd.Series, resamples: int, seed: int) -> None:
        """`clusters`: the cluster of each question, indexed by question id."""
        self.questions = clusters.sort_index().index
        codes, names = pd.factorize(clusters.sort_index())
        random = np.random.default_rng(seed)
        drawn = random.multinomial(len(names), np.full(len(names), 1 / len(names)), size=resamples)
        weights = drawn[:, codes].astype(np.float64)
        self.weights: NDArray[np.float64] = weights / weights.sum(axis=1, keepdims=True)
        self._seed_draws = np.random.default_rng(seed + 1)
        self._seed_weights: dict[int, NDArray[np.float64]] = {}

    def seed_weights(self, seeds: int) -> NDArray[np.float64]:
        """Shape [resamples, seeds], rows sum to 1; the same for every method with as many seeds."""
        if seeds not in self._seed_weights:
            drawn = self._seed_draws.multinomial(seeds, np.full(seeds, 1 / seeds), size=len(self.weights))
            self._seed_weights[seeds] = drawn / seeds
        return self._seed_weights[seeds]

    def means(self, accuracy: NDArray[np.float64]) -> NDArray[np.float64]:
        """The mean in each resample; `accuracy` has shape [seeds, questions] in the order of `questions`."""
        return np.einsum("rs,rs->r", self.weights @ accuracy.T, self.seed_weights(len(accuracy)))


def interval(means: NDArray[np.float64], confidence: float) -> tuple[float, float]:
    """The percentile interval of resampled means."""
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def summarise(metrics: pd.DataFrame, confidence: float, resamples: int, seed: int) -> pd.DataFrame:
    """Accuracy with its interval for every cell of a metric table: columns `CELL`, accuracy, low, high, questions, seeds."""
    rows = []
    for _, part in metrics.groupby("benchmark", sort=False):
        clusters = part.drop_duplicates("question_id").set_index("question_id")["cluster"]
        bootstrap = Bootstrap(clusters, resamples, seed)
        for key, cell in part.groupby(CELL, sort=False):
            accuracy = cell.pivot(index="seed", columns="question_id", values="accuracy")[bootstrap.questions].to_numpy()
            low, high = interval(bootstrap.means(accuracy), confidence)
            rows.append([*key, float(accuracy.mean()), low, high, accuracy.shape[1], accuracy.shape[0]])
    return pd.DataFrame(rows, columns=[*CELL, "accuracy", "low", "high", "questions", "seeds"])


def judge_scores(grades: Path, scores: Path, aggregation: str, n: Sequence[int], resamples: int, seed: int) -> pd.DataFrame:
    """Exact best-of-n and score-weighted votes of one score table, with 95 % intervals."""
    if aggregation not in AGGREGATIONS:
        raise PqmError(f"--aggregation {aggregation}: expected one of {', '.join(AGGREGATIONS)}")
    if min(n) < 1:
        raise PqmError(f"--n {min(n)}: expected 1 or more")
    joined = join(formats.read(grades, formats.GRADES), formats.read(scores, formats.SCORES), scores)
    rows = pd.DataFrame(judge(joined, [aggregation], n, 200, seed))
    rows["method"] = rows["kind"].map({"best": "best-of-n", "vote": "weighted vote"})
    cell = {"policy": "", "benchmark": "", "backbone": "", "seed": 0}
    table = summarise(rows.assign(**cell), 0.95, resamples, seed)
    return table[["method", "aggregation", "n", "accuracy", "low", "high", "questions"]]
