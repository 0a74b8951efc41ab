"""Estimators of best-of-n, pass@n and votes.

All functions take the M samples of one question: `scores` and `correct` have shape [M], with M >= n. They raise ValueError if
there are fewer than n samples. Best-of-n and pass@n are exact expectations over all subsets of size n.
"""

from collections.abc import Sequence
from functools import lru_cache
from math import comb

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@lru_cache(maxsize=1024)
def _rank_weights(samples: int, n: int) -> Floats:
    """The probability that the i-th lowest of M samples is the highest of a random subset of size n: C(i-1, n-1) / C(M, n)."""
    if not 1 <= n <= samples:
        raise ValueError(f"best-of-{n} needs at least {n} samples, found {samples}")
    total = comb(samples, n)
    return np.array([comb(i, n - 1) / total for i in range(samples)])


def best_of_n(scores: Floats, correct: Bools, n: int) -> float:
    """The exact expected accuracy of the best-scored of n samples drawn without replacement.

    Ties are broken at random: samples with equal scores share the weights of their ranks.
    """
    order = np.argsort(scores, kind="stable")
    _, group = np.unique(scores[order], return_inverse=True)
    hits = np.asarray(correct, dtype=np.float64)[order]
    group_mean = np.bincount(group, weights=hits) / np.bincount(group)
    return float(_rank_weights(len(scores), n) @ group_mean[group])


def pass_at_n(correct: Bools, n: int) -> float:
    """The exact probability that any of n samples is right, with c right samples: 1 - C(M - c, n) / C(M, n)."""
    samples, right = len(correct), int(np.sum(correct))
    if not 1 <= n <= samples:
        raise ValueError(f"pass@{n} needs at least {n} samples, found {samples}")
    return 1.0 - comb(samples - right, n) / comb(samples, n)


def vote(
    answers: Sequence[str | None], correct: Bools, weights: Floats, n: Sequence[int], count: int, random: np.random.Generator
) -> list[float]:
    """For each n, the accuracy of the answer with the largest sum of weights among n samples.

    It is the mean over `count` random subsets per size, the first n samples of random permutations. Weights of 1 give
    self-consistency; sigma of the solutions' scores gives PQM with self-consistency. Samples without an answer (None) have no
    vote, and a subset without votes is wrong. Ties go to the answer that comes first.

    Args:
        answers: shape [M]; samples with the same answer are all right or all wrong.
        weights: shape [M], not negative.
        count: number of random subsets.
    """
    samples = len(answers)
    if not 1 <= min(n) <= max(n) <= samples:
        raise ValueError(f"votes need sizes from 1 to {samples}, the number of samples; found {list(n)}")
    order = np.argsort(random.random((count, samples)), axis=1)
    names = list(dict.fromkeys(answer for answer in answers if answer is not None))
    if not names:
        return [0.0 for _ in n]
    codes = np.array([names.index(answer) if answer is not None else -1 for answer in answers])
    right = np.array([bool(correct[np.argmax(codes == code)]) for code in range(len(names))])
    cast = codes[order][:, :, None] == np.arange(len(names))
    totals = np.where(cast, weights[order][:, :, None], 0.0).cumsum(axis=1)
    first_place = np.where(cast.any(axis=1), cast.argmax(axis=1), samples)
    accuracies = []
    for size in n:
        voted = first_place < size
        standing = np.where(voted, totals[:, size - 1], -1.0)
        tied = voted & np.isclose(standing, standing.max(axis=1, keepdims=True), rtol=1e-9, atol=0)
        winner = np.where(tied, first_place, samples).argmin(axis=1)
        accuracies.append(float((right[winner] & voted.any(axis=1)).mean()))
    return accuracies


def first_n(scores: Floats, correct: Bools, n: int) -> float:
    """The paper's estimate: whether the best-scored of the first n samples in file order is right (ties: the first)."""
    if n > len(scores):
        raise ValueError(f"expected at least {n} samples, found {len(scores)}")
    return float(correct[int(np.argmax(scores[:n]))])


def probability(logits: Floats) -> Floats:
    """sigma of logits, any shape."""
    return np.exp(-np.logaddexp(0.0, -np.asarray(logits, dtype=np.float64)))


AGGREGATIONS = ("min", "last", "product", "mean")


def aggregate(step_scores: Sequence[float], aggregation: str) -> float:
    """The score of a solution from its step logits; a solution without steps has the lowest score.

    `min` and `last` are logits, `product` is the sum of log sigma, and `mean` is the mean of sigma. Only their order is used.
    """
    if len(step_scores) == 0:
        return float("-inf")
    logits = np.asarray(step_scores, dtype=np.float64)
    if aggregation == "min":
        return float(logits.min())
    if aggregation == "last":
        return float(logits[-1])
    if aggregation == "product":
        return float(-np.logaddexp(0.0, -logits).sum())
    if aggregation == "mean":
        return float(probability(logits).mean())
    raise ValueError(f"unknown aggregation {aggregation!r}; expected one of {', '.join(AGGREGATIONS)}")


def area_under_curve(scores: np.ndarray, positive: np.ndarray) -> float:
    """The probability that a positive scores above a negative; ties count half. NaN if either is missing. Shapes [N]."""
    high, low = scores[positive.astype(bool)], np.sort(scores[~positive.astype(bool)])
    if not len(high) or not len(low):
        return float("nan")
    below, not_above = np.searchsorted(low, high, side="left"), np.searchsorted(low, high, side="right")
    return float((below + not_above).mean() / (2 * len(low)))
