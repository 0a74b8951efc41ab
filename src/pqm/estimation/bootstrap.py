"""A paired bootstrap over question clusters and training seeds, for F1. Accuracies have closed forms (`intervals.py`).

Clusters and seeds are drawn as by Rao and Wu (1988): one fewer than there are, with replacement. So the variance of a resampled
mean is unbiased; otherwise it would be a third too small for three seeds.
"""

import numpy as np
import pandas as pd

from pqm.estimation.intervals import Floats


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
        self.question_weights = draw(len(names), resamples, np.random.default_rng(seed))[:, codes]
        self._seed = seed

    def seed_weights(self, seeds: int) -> Floats:
        """The weights of training seeds, shape [resamples, seeds]; rows sum to 1. Methods with as many seeds have the same."""
        return draw(seeds, len(self.question_weights), np.random.default_rng([self._seed, seeds])) / seeds

    def shares(self, numerators: Floats, denominators: Floats) -> Floats:
        """sum(numerators) / sum(denominators) of each seed in each resample; shapes [seeds, questions] to [resamples, seeds].

        It is NaN in a resample with a sum of denominators of 0.
        """
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray((self.question_weights @ numerators.T) / (self.question_weights @ denominators.T), dtype=np.float64)

    def over_seeds(self, values: Floats) -> Floats:
        """The mean over drawn seeds of values of shape [resamples, seeds]."""
        return np.einsum("rs,rs->r", values, self.seed_weights(values.shape[1]))


def interval(values: Floats, confidence: float) -> tuple[float, float]:
    """The percentile interval of resampled values; NaN values are ignored."""
    low, high = np.nanquantile(values, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)
