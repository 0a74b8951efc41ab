"""Accuracies with intervals, and tests of paired differences, from metric tables."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from pqm.estimation.intervals import Floats, Spread, accuracy_interval, difference_interval, spread

CELL = ["policy", "benchmark", "backbone", "method", "aggregation", "n"]
POWER = 0.8


@dataclass(frozen=True)
class Clusters:
    """The questions of a benchmark, sorted by id, and the cluster of each: every method's accuracies are in this order.

    Attributes:
        questions: question ids.
        codes: the cluster of each question, numbered from 0.
    """

    questions: pd.Index
    codes: NDArray[np.intp]

    @classmethod
    def of(cls, clusters: pd.Series) -> "Clusters":
        """From the cluster of each question, indexed by question id."""
        ordered = clusters.sort_index()
        return cls(ordered.index, pd.factorize(ordered)[0])

    @property
    def sizes(self) -> Floats:
        """The number of questions of each cluster."""
        return np.bincount(self.codes).astype(np.float64)

    def totals(self, values: Floats) -> Floats:
        """Sums over the questions of each cluster: shape [seeds, questions] to [seeds, clusters]."""
        return np.stack([np.bincount(self.codes, weights=row) for row in values])


def clusters_by_benchmark(metrics: pd.DataFrame) -> dict[str, Clusters]:
    """The clusters of each benchmark of a metric table."""
    return {
        str(name): Clusters.of(part.drop_duplicates("question_id").set_index("question_id")["cluster"])
        for name, part in metrics.groupby("benchmark", sort=False)
    }


def accuracies(cell: pd.DataFrame, clusters: Clusters) -> Floats:
    """The metric rows of one method as an array, shape [seeds, questions]."""
    return cell.pivot(index="seed", columns="question_id", values="accuracy")[clusters.questions].to_numpy()


def summarise(metrics: pd.DataFrame, confidence: float) -> pd.DataFrame:
    """The accuracy and interval of every cell of a metric table: columns `CELL`, accuracy, low, high, questions, seeds."""
    rows = []
    benchmarks = clusters_by_benchmark(metrics)
    for key, cell in metrics.groupby(CELL, sort=False):
        clusters = benchmarks[key[1]]
        accuracy = accuracies(cell, clusters)
        mean, low, high = accuracy_interval(clusters.totals(accuracy), clusters.sizes, confidence)
        rows.append([*key, float(mean), float(low), float(high), accuracy.shape[1], accuracy.shape[0]])
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


def compare(clusters: Clusters, ours: Floats, other: Floats, confidence: float) -> Difference:
    """Paired comparison of two methods, shapes [seeds, questions]. With the same number of seeds, seeds are paired too.

    p is below 1 - `confidence` if and only if the interval excludes 0. With a single cluster, the interval is [-1, 1], p is 1, and
    error and degrees of freedom are NaN.
    """
    parts = _paired_spread(clusters, ours, other)
    reach, error, freedom = map(float, difference_interval(parts, confidence))
    difference = float(parts.mean)
    p = 2 * float(stats.t.sf(abs(difference) / error, freedom)) if error == error else 1.0
    return Difference(difference, max(difference - reach, -1.0), min(difference + reach, 1.0), error, freedom, p)


def _paired_spread(clusters: Clusters, ours: Floats, other: Floats) -> Spread:
    """The spread of ours - other. Two methods with several seeds each, but not as many, have independent seeds."""
    if len(ours) == len(other) or min(len(ours), len(other)) == 1:
        return spread(clusters.totals(ours - other), clusters.sizes)
    each = [spread(clusters.totals(values), clusters.sizes) for values in (ours, other)]
    means = spread(clusters.totals(ours.mean(axis=0, keepdims=True) - other.mean(axis=0)), clusters.sizes)
    seeds, interaction = each[0].seeds + each[1].seeds, each[0].interaction + each[1].interaction
    with np.errstate(invalid="ignore"):  # Satterthwaite's degrees of freedom of a sum
        freedom = seeds**2 / sum(one.seeds**2 / one.seed_freedom for one in each)
    return replace(means, seeds=seeds, interaction=interaction, seed_freedom=np.fmax(freedom, 1.0))


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
