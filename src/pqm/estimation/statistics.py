"""Intervals and tests: a paired bootstrap over question clusters and training seeds.

Clusters and seeds are drawn as by Rao and Wu (1988): one fewer than there are, with replacement. So the variance of a resampled
mean is unbiased; otherwise it would be a third too small for three seeds.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from pqm.errors import PqmError
from pqm.estimation.estimators import AGGREGATIONS
from pqm.estimation.judge import join, judge
from pqm.io import formats

Floats = NDArray[np.float64]
CELL = ["policy", "benchmark", "backbone", "method", "aggregation", "n"]
POWER = 0.8


def draw(units: int, resamples: int, random: np.random.Generator) -> Floats:
    """The weight of each unit in each resample, with mean 1; a single unit has weight 1. Shape [resamples, units]."""
    if units == 1:
        return np.ones((resamples, 1))
    drawn = random.multinomial(units - 1, np.full(units, 1 / units), size=resamples).astype(np.float64)
    return drawn * (units / (units - 1))


class Bootstrap:
    """Resamples of one benchmark's question clusters, the same for every method, so that comparisons are paired.

    A question has the weight of its cluster. The training seeds of a method are drawn too (a hierarchical bootstrap).

    Args:
        clusters: the cluster of each question, indexed by question id.
    """

    def __init__(self, clusters: pd.Series, resamples: int, seed: int) -> None:
        self.questions = clusters.sort_index().index
        codes, names = pd.factorize(clusters.sort_index())
        self.clusters = len(names)
        self.question_weights = draw(len(names), resamples, np.random.default_rng(seed))[:, codes]
        self._seed = seed

    def seed_weights(self, seeds: int) -> Floats:
        """The weights of training seeds, shape [resamples, seeds]; rows sum to 1. Methods with as many seeds have the same."""
        return draw(seeds, len(self.question_weights), np.random.default_rng([self._seed, seeds])) / seeds

    def means(self, accuracy: Floats) -> Floats:
        """The mean accuracy in each resample; `accuracy` has shape [seeds, questions] in the order of `questions`."""
        return self.ratios(accuracy, np.ones_like(accuracy))

    def ratios(self, numerators: Floats, denominators: Floats) -> Floats:
        """The mean over seeds of sum(numerators) / sum(denominators) in each resample; shapes [seeds, questions].

        It is NaN in a resample with a sum of denominators of 0.
        """
        return self.over_seeds(self.shares(numerators, denominators))

    def shares(self, numerators: Floats, denominators: Floats) -> Floats:
        """sum(numerators) / sum(denominators) of each seed in each resample, shape [resamples, seeds]."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray((self.question_weights @ numerators.T) / (self.question_weights @ denominators.T), dtype=np.float64)

    def over_seeds(self, values: Floats) -> Floats:
        """The mean over drawn seeds of values of shape [resamples, seeds]."""
        return np.einsum("rs,rs->r", values, self.seed_weights(values.shape[1]))


def interval(means: Floats, confidence: float) -> tuple[float, float]:
    """The percentile interval of resampled means; NaN values are ignored."""
    low, high = np.nanquantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def accuracies(cell: pd.DataFrame, bootstrap: Bootstrap) -> Floats:
    """The metric rows of one method as an array, shape [seeds, questions] in the order of the bootstrap."""
    return cell.pivot(index="seed", columns="question_id", values="accuracy")[bootstrap.questions].to_numpy()


def bootstraps(metrics: pd.DataFrame, resamples: int, seed: int) -> dict[str, Bootstrap]:
    """One bootstrap per benchmark of a metric table."""
    return {
        str(name): Bootstrap(part.drop_duplicates("question_id").set_index("question_id")["cluster"], resamples, seed)
        for name, part in metrics.groupby("benchmark", sort=False)
    }


def summarise(metrics: pd.DataFrame, confidence: float, resamples: int, seed: int) -> pd.DataFrame:
    """The accuracy and interval of every cell of a metric table: columns `CELL`, accuracy, low, high, questions, seeds."""
    rows = []
    draws = bootstraps(metrics, resamples, seed)
    for key, cell in metrics.groupby(CELL, sort=False):
        bootstrap = draws[key[1]]
        accuracy = accuracies(cell, bootstrap)
        low, high = interval(bootstrap.means(accuracy), confidence)
        rows.append([*key, float(accuracy.mean()), low, high, accuracy.shape[1], accuracy.shape[0]])
    return pd.DataFrame(rows, columns=[*CELL, "accuracy", "low", "high", "questions", "seeds"])


@dataclass(frozen=True)
class Difference:
    """A paired difference of two mean accuracies, with its interval, standard error, degrees of freedom and two-sided p value."""

    difference: float
    low: float
    high: float
    error: float
    freedom: float
    p: float


def compare(bootstrap: Bootstrap, ours: Floats, other: Floats, confidence: float) -> Difference:
    """Paired comparison of two methods, shapes [seeds, questions]. With the same number of seeds, seeds are paired too.

    The variance is the sum of the clusters' variance (bootstrap of the mean difference over seeds) and the seeds' variance (of
    their mean differences). Interval and p value are from Student's t with Satterthwaite's degrees of freedom, so they are wide
    if few seeds disagree. With a single cluster, p is 1.
    """
    difference = float(ours.mean() - other.mean())
    of_clusters = float(bootstrap.means((ours.mean(axis=0) - other.mean(axis=0))[None]).var(ddof=1))
    of_seeds, seeds = _seed_variance(ours, other)
    error = np.sqrt(of_clusters + of_seeds)
    if bootstrap.clusters < 2 or error < 1e-12:
        sure = bootstrap.clusters > 1 and abs(difference) > 1e-12
        return Difference(difference, difference, difference, 0.0, np.inf, 0.0 if sure else 1.0)
    freedom = (of_clusters + of_seeds) ** 2 / (
        of_clusters**2 / (bootstrap.clusters - 1) + (of_seeds**2 / (seeds - 1) if seeds > 1 else 0.0)
    )
    reach = float(stats.t.isf((1 - confidence) / 2, freedom)) * error
    p = 2 * float(stats.t.sf(abs(difference) / error, freedom))
    return Difference(difference, difference - reach, difference + reach, float(error), float(freedom), p)


def _seed_variance(ours: Floats, other: Floats) -> tuple[float, int]:
    """The variance of the mean difference due to training seeds, and the number of seeds; 0 with a single seed per method."""
    if len(ours) == len(other):
        pairs = ours.mean(axis=1) - other.mean(axis=1)
        return (float(pairs.var(ddof=1)) / len(pairs), len(pairs)) if len(pairs) > 1 else (0.0, 1)
    parts = [values.mean(axis=1) for values in (ours, other) if len(values) > 1]
    return sum(float(part.var(ddof=1)) / len(part) for part in parts), min((len(part) for part in parts), default=1)


def holm(p: Sequence[float]) -> list[float]:
    """Holm's adjusted p values of a family of tests; the step-down procedure rejects at alpha if they are below alpha."""
    order = np.argsort(p, kind="stable")
    adjusted, highest = np.empty(len(p)), 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, (len(p) - rank) * p[index]))
        adjusted[index] = highest
    return adjusted.tolist()


def smallest_difference(error: float, freedom: float, alpha: float) -> float:
    """The difference that a two-sided test at `alpha` detects with power `POWER`, given its standard error."""
    return float((stats.t.isf(alpha / 2, freedom) + stats.t.isf(1 - POWER, freedom)) * error)


def judge_scores(grades: Path, scores: Path, aggregation: str, n: Sequence[int], resamples: int, seed: int) -> pd.DataFrame:
    """Exact best-of-n and score-weighted votes of one score table, with 95 % intervals.

    Raises:
        PqmError: the aggregation or n is invalid, a sample has no score, or a question has fewer samples than the largest n.
    """
    if aggregation not in AGGREGATIONS:
        raise PqmError(f"--aggregation {aggregation}: expected one of {', '.join(AGGREGATIONS)}")
    if min(n) < 1:
        raise PqmError(f"--n {min(n)}: expected 1 or more")
    joined = join(formats.read(grades, formats.GRADES), formats.read(scores, formats.SCORES), scores)
    rows = pd.DataFrame(judge(joined, [aggregation], sorted(set(n)), 200, seed))
    rows["method"] = rows["kind"].map({"best": "best-of-n", "vote": "weighted vote"})
    cell = {"policy": "", "benchmark": "", "backbone": "", "seed": 0}
    table = summarise(rows.assign(**cell), 0.95, resamples, seed)
    return table[["method", "aggregation", "n", "accuracy", "low", "high", "questions"]]
