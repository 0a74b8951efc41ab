"""Intervals of mean accuracies and of paired differences, over question clusters and training seeds that are both random.

Every seed answers every question, so seeds and clusters are crossed random effects, and the variance of a mean is

    clusters + seeds - interaction

clusters is the variance over clusters of the mean over the seeds, seeds that of the seeds' means. Both include the interaction of
seeds and clusters, so it is subtracted once. The degrees of freedom are the harmonic mean of those of clusters and seeds, weighted
by their shares of the variance. Three seeds that differ have two, so their interval is wide. With one seed the interval is about
this model, not about its training.

All functions take leading axes, for many studies at once. docs/statistics.md has the measured coverage.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

Floats = NDArray[np.float64]
SKEW = 0.25  # How much longer the seeds' part towards 1/2 is near 0 and 1, chosen for seeds that differ by up to 1 logit.


@dataclass(frozen=True)
class Spread:
    """A mean over seeds and clusters, and the components of its variance; each has the leading axes.

    Attributes:
        mean: the mean over seeds of sum of totals / sum of sizes.
        clusters: the variance due to the clusters, and to their interaction with the seeds.
        seeds: the variance due to the seeds, and to their interaction with the clusters; 0 for a single seed.
        interaction: the variance that both include, 0 for a single seed.
        seed_freedom: the degrees of freedom of `seeds`.
        contributing: how many clusters make up the clusters' variance, (sum of squares)^2 / sum of fourth powers.
    """

    mean: Floats
    clusters: Floats
    seeds: Floats
    interaction: Floats
    seed_freedom: Floats
    contributing: Floats
    n_clusters: int
    n_seeds: int


def spread(totals: Floats, sizes: Floats) -> Spread:
    """The mean and its variance, from the `totals` [..., seeds, clusters] and the `sizes` [clusters] of the clusters.

    Totals are sums over the questions of a cluster. With a single cluster the variance is NaN.
    """
    n_seeds, n_clusters = totals.shape[-2:]
    each = totals.sum(axis=-1, keepdims=True) / sizes.sum()
    residuals = (totals - each * sizes) / sizes.sum()
    shared = residuals.mean(axis=-2)
    squares = (shared**2).sum(axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        unbiased = n_clusters / (n_clusters - 1) if n_clusters > 1 else np.nan
        contributing = np.fmin(squares**2 / (shared**4).sum(axis=-1), n_clusters)
        seeds, interaction = np.zeros_like(squares), np.zeros_like(squares)
        if n_seeds > 1:
            seeds = each[..., 0].var(axis=-1, ddof=1) / n_seeds
            interaction = ((residuals - shared[..., None, :]) ** 2).sum(axis=(-1, -2)) * unbiased / (n_seeds - 1) / n_seeds
    mean = each[..., 0].mean(axis=-1)
    freedom = np.full_like(mean, n_seeds - 1)
    return Spread(mean, squares * unbiased, seeds, interaction, freedom, contributing, n_clusters, n_seeds)


def accuracy_interval(totals: Floats, sizes: Floats, confidence: float) -> tuple[Floats, Floats, Floats]:
    """The mean accuracy and the bounds of its interval, within [0, 1]; see `spread` for the arguments.

    Questions: the interval of Korn and Graubard (1998), a binomial one with the effective number of questions. Seeds: Student's t
    on the logit scale. An interval is never of zero width. If all answers are right, it is that of Clopper and Pearson for as
    many questions as there are clusters.
    """
    parts = spread(totals, sizes)
    mean, right = np.clip(parts.mean, 0.0, 1.0), (1 + confidence) / 2
    binomial = mean * (1 - mean)
    questions = _effective_questions(mean, parts)
    of_clusters = student(parts.n_clusters - 1, right)
    equivalent = questions * (student(sizes.sum() - 1, right) / of_clusters) ** 2
    # One seed: halfway between the quantiles of Clopper and Pearson (0) and of Jeffreys (1/2). Means of seeds are less discrete.
    between = np.where(binomial > 0, 0.5 - 0.25 / parts.n_seeds, 0.0)
    right_ones, wrong_ones = equivalent * mean, equivalent * (1 - mean)
    low = np.where(mean > 0, special.betaincinv(right_ones + between, wrong_ones + 1 - between, 1 - right), 0.0)
    high = np.where(mean < 1, special.betaincinv(right_ones + 1 - between, wrong_ones + between, right), 1.0)
    low, high = np.minimum(low, mean), np.maximum(high, mean)
    if parts.n_seeds == 1 or parts.n_clusters == 1:
        return mean, low, high
    with np.errstate(invalid="ignore", divide="ignore"):
        clusters = binomial / (questions - 1)
        variance, share, freedom = _total(clusters, parts.n_clusters - 1.0, parts)
        reach = student(freedom, right) * np.sqrt(variance)
        by_seeds = share * reach / binomial
        longer = by_seeds * (1 + SKEW * (1 - 2 * mean) ** 2)  # towards 1/2, where the rare far seeds are
        centre, weight = special.logit(mean), (1 - share) * reach / (of_clusters * np.sqrt(clusters))
        below = weight * (centre - special.logit(low)) + np.where(mean > 0.5, longer, by_seeds)
        above = weight * (special.logit(high) - centre) + np.where(mean < 0.5, longer, by_seeds)
        some = binomial > 0
        return (
            mean,
            np.where(some, np.minimum(special.expit(centre - below), mean), low),
            np.where(some, np.maximum(special.expit(centre + above), mean), high),
        )


def _effective_questions(mean: Floats, parts: Spread) -> Floats:
    """How many independent questions would give the clusters' variance.

    If less than about one cluster is wrong (or right), the data say little about the variance. So there are at most as many as
    clusters, and this limit grows with the third power of the wrong (or right) ones.
    """
    rare = parts.n_clusters * np.minimum(mean, 1 - mean)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.fmin(mean * (1 - mean) / parts.clusters + 1, parts.n_clusters * np.maximum(1.0, rare**3))


def difference_interval(parts: Spread, confidence: float) -> tuple[Floats, Floats, Floats]:
    """The half width, standard error and degrees of freedom of a paired difference in [-1, 1], whose spread is `parts`.

    The degrees of freedom are those of the Student's quantile that gives the half width.
    - The clusters' are fewer if a few clusters make up most of their variance (from the fourth moment).
    - The error is at least what it would be if one cluster differed the other way. So some clusters that differ alike show no
      more than in a sign test.
    - Methods that are equal on all clusters have the half width of Clopper and Pearson's bound for none of so many.

    With a single cluster the half width is infinite, and the others are NaN.
    """
    right, n_clusters = (1 + confidence) / 2, parts.n_clusters
    if n_clusters == 1:
        unknown = np.full_like(parts.mean, np.nan)
        return np.full_like(parts.mean, np.inf), unknown, unknown
    with np.errstate(invalid="ignore", divide="ignore"):
        moments = 2 * parts.contributing / (1 - parts.contributing / n_clusters)
    cluster_freedom = np.maximum(np.fmin(moments, n_clusters - 1), 1.0)
    never = (1 - (1 - right) ** (1 / n_clusters)) / student(cluster_freedom, right)
    clusters = np.maximum(parts.clusters, (2 * parts.mean / n_clusters) ** 2)
    clusters = np.where(clusters + parts.seeds > 0, clusters, never**2)
    variance, _, freedom = _total(clusters, cluster_freedom, parts)
    error = np.sqrt(variance)
    return student(freedom, right) * error, error, freedom


def _total(clusters: Floats, cluster_freedom: Floats | float, parts: Spread) -> tuple[Floats, Floats, Floats]:
    """The variance of a mean, the seeds' share of it, and its degrees of freedom, given the variance of the clusters.

    At least a tenth of the clusters' variance is kept when the interaction is subtracted. So seeds that are equal by chance do not
    give an interval of no width.
    """
    variance = np.fmax(clusters - parts.interaction, 0.1 * clusters) + parts.seeds
    share = parts.seeds / variance
    # Satterthwaite's formula has squares of the shares. With three seeds that is too many: they often agree by chance.
    return variance, share, 1 / ((1 - share) / cluster_freedom + share / np.maximum(parts.seed_freedom, 1.0))


def student(freedom: Floats | float, probability: float) -> Floats:
    """The quantile of Student's t; fewer than one degree of freedom count as one."""
    return np.asarray(special.stdtrit(np.maximum(freedom, 1.0), probability), dtype=np.float64)
