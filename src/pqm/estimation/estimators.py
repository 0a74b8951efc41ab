"""Estimators of best-of-n, pass@n and votes.

All functions take the M samples of one question: `scores` and `correct` have shape [M], with M >= n. They raise ValueError if
there are fewer than n samples. Best-of-n and pass@n are exact expectations over all subsets of size n.
"""

from collections.abc import Sequence
from functools import lru_cache
from itertools import combinations
from math import comb

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

SAME = 1e-13  # relative difference up to which two scores are equal; rounding errors of sums over steps are smaller
LOWEST_LOGIT, HIGHEST_LOGIT = -745.2, 40.0  # just beyond the logits of the smallest float64 above 0 and the largest below 1


@lru_cache(maxsize=1024)
def _rank_weights(samples: int, n: int) -> Floats:
    """The probability that the i-th lowest of M samples is the highest of a random subset of size n: C(i-1, n-1) / C(M, n)."""
    if not 1 <= n <= samples:
        raise ValueError(f"best-of-{n} needs at least {n} samples, found {samples}")
    total = comb(samples, n)
    return np.array([comb(i, n - 1) / total for i in range(samples)])


def _ranks(scores: Floats) -> NDArray[np.int64]:
    """The rank of each score from 0, shape [M]. Scores that differ by rounding only, such as sums in another order, are equal."""
    order = np.argsort(scores, kind="stable")
    ascending = scores[order]
    with np.errstate(invalid="ignore"):  # -inf - -inf
        higher = np.diff(ascending) > SAME * np.abs(ascending[1:])
    ranks = np.empty(len(scores), dtype=np.int64)
    ranks[order] = np.concatenate([[0], np.cumsum(higher)])
    return ranks


def best_of_n(scores: Floats, correct: Bools, n: int) -> float:
    """The exact expected accuracy of the best-scored of n samples drawn without replacement.

    Ties are broken at random: samples with equal scores share the weights of their ranks.
    """
    ranks = _ranks(scores)
    group = np.sort(ranks)
    group_mean = np.bincount(ranks, weights=np.asarray(correct, dtype=np.float64)) / np.bincount(ranks)
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
    """For each n, the expected accuracy of the answer with the largest sum of weights among n samples.

    Weights of 1 give self-consistency; see `vote_weights` for those of scores. Samples without an answer (None) have no vote, and
    a subset without votes is wrong. Ties go to the answer that comes first, and an answer is right if the first sample with it
    is. Over all orders of a subset, the first sample with one of the tied answers is any of them with the same probability. So
    the expected accuracy of a subset is the share of right samples among those with a winning answer.

    It is the mean over all subsets of size n if n is 1 or if there are at most `count` of them. Otherwise it is the mean over
    `count` random subsets, the first n samples of random permutations.

    Args:
        answers: shape [M]; samples vote together if their answers are equal texts.
        weights: shape [M], not negative.
        count: number of random subsets.
    """
    samples = len(answers)
    if not 1 <= min(n) <= max(n) <= samples:
        raise ValueError(f"votes need sizes from 1 to {samples}, the number of samples; found {list(n)}")
    places = np.argsort(np.argsort(random.random((count, samples)), axis=1), axis=1)  # of each sample in each permutation
    names = list(dict.fromkeys(answer for answer in answers if answer is not None))
    votes = np.array([[answer == name for name in names] for answer in answers], dtype=np.float64)
    drawn = [_subsets(samples, size) if size == 1 or comb(samples, size) <= count else places < size for size in n]
    return [_vote(members, votes, np.asarray(correct), weights) for members in drawn]


def _subsets(samples: int, size: int) -> Bools:
    """All subsets of this size; shape [subsets, samples], true for the subset's samples."""
    chosen = np.array(list(combinations(range(samples), size)))
    members = np.zeros((len(chosen), samples), dtype=np.bool_)
    np.put_along_axis(members, chosen, True, axis=1)
    return members


def _vote(members: Bools, votes: Floats, correct: Bools, weights: Floats) -> float:
    """The mean accuracy of the votes of subsets, see `vote`.

    Args:
        members: shape [subsets, samples], true for the subset's samples.
        votes: shape [samples, answers], 1 for the sample's answer.
    """
    if votes.shape[1] == 0:
        return 0.0
    totals, voters, right = (members.astype(np.float64) @ (votes * of[:, None]) for of in (weights, np.ones(len(votes)), correct))
    standing = np.where(voters > 0, totals, -1.0)
    won = (voters > 0) & np.isclose(standing, standing.max(axis=1, keepdims=True), rtol=1e-9, atol=0)
    winners = (voters * won).sum(axis=1)
    return float(((right * won).sum(axis=1) / np.maximum(winners, 1)).mean())


def first_n(scores: Floats, correct: Bools, n: int) -> float:
    """The paper's estimate: whether the best-scored of the first n samples in file order is right (ties: the first)."""
    if n > len(scores):
        raise ValueError(f"expected at least {n} samples, found {len(scores)}")
    return float(correct[int(np.argmax(_ranks(scores[:n])))])


def probability(logits: Floats) -> Floats:
    """sigma of logits, any shape."""
    return np.exp(-np.logaddexp(0.0, -np.asarray(logits, dtype=np.float64)))


def logit(probabilities: Floats) -> Floats:
    """The logits of probabilities, any shape; finite also for 0 and 1, below and above those of all other numbers."""
    with np.errstate(divide="ignore"):
        return np.clip(np.log(probabilities) - np.log1p(-np.asarray(probabilities)), LOWEST_LOGIT, HIGHEST_LOGIT)


AGGREGATIONS = ("min", "last", "product", "mean")


def aggregate(step_scores: Sequence[float], aggregation: str) -> float:
    """The score of a solution from its step logits; a solution without steps has the lowest score.

    `min` and `last` are logits, `product` is the sum of log sigma, and `mean` is the mean of sigma. Votes use their
    `vote_weights`, everything else only their order.
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


def vote_weights(scores: Floats, aggregation: str) -> Floats:
    """The probability that each score of `aggregate` stands for, any shape; 0 for a solution without steps."""
    if aggregation == "product":
        return np.exp(scores)
    return np.maximum(scores, 0.0) if aggregation == "mean" else probability(scores)


def area_under_curve(scores: np.ndarray, positive: np.ndarray) -> float:
    """The probability that a positive scores above a negative; ties count half. NaN if either is missing. Shapes [N]."""
    high, low = scores[positive.astype(bool)], np.sort(scores[~positive.astype(bool)])
    if not len(high) or not len(low):
        return float("nan")
    below, not_above = np.searchsorted(low, high, side="left"), np.searchsorted(low, high, side="right")
    return float((below + not_above).mean() / (2 * len(low)))
