"""Estimators of best-of-n, pass@n and votes.

All functions take the M samples of a question: `scores` and `correct` have shape [M], with M >= n, or leading axes where a
function says so. They raise ValueError if there are fewer than n samples. Best-of-n and pass@n are exact expectations over all
subsets of size n.
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
SAME_SUM = 1e-9  # the same for two sums of weights
LOWEST_LOGIT, HIGHEST_LOGIT = -745.2, 40.0  # just beyond the logits of the smallest float64 above 0 and the largest below 1


@lru_cache(maxsize=1024)
def _rank_weights(samples: int, n: int) -> Floats:
    """The probability that the i-th lowest of M samples is the highest of a random subset of size n: C(i-1, n-1) / C(M, n)."""
    if not 1 <= n <= samples:
        raise ValueError(f"best-of-{n} needs at least {n} samples, found {samples}")
    total = comb(samples, n)
    return np.array([comb(i, n - 1) / total for i in range(samples)])


def _ranks(scores: Floats) -> NDArray[np.int64]:
    """The rank of each score from 0, along the last axis. Scores that differ by rounding only, as sums in another order, are equal."""
    order = np.argsort(scores, axis=-1, kind="stable")
    ascending = np.take_along_axis(scores, order, axis=-1)
    ranks = np.zeros(scores.shape, dtype=np.int64)
    with np.errstate(invalid="ignore"):  # -inf - -inf
        higher = np.diff(ascending, axis=-1) > SAME * np.abs(ascending[..., 1:])
    np.put_along_axis(ranks, order[..., 1:], np.cumsum(higher, axis=-1), axis=-1)
    return ranks


def best_of_n(scores: Floats, correct: Bools, n: int) -> Floats:
    """The exact expected accuracy of the best-scored of n samples drawn without replacement; shapes [.., M] to [..].

    Ties are broken at random: samples with equal scores share the weights of their ranks.
    """
    ranks, samples = _ranks(scores), scores.shape[-1]
    groups = ranks + samples * np.arange(ranks.size // samples).reshape(*ranks.shape[:-1], 1)
    right = np.bincount(groups.ravel(), weights=np.broadcast_to(correct, ranks.shape).ravel(), minlength=ranks.size)
    share = right / np.maximum(np.bincount(groups.ravel(), minlength=ranks.size), 1)
    return np.asarray(share[np.sort(groups, axis=-1)] @ _rank_weights(samples, n))


def pass_at_n(correct: Bools, n: int) -> float:
    """The exact probability that any of n samples is right, with c right samples: 1 - C(M - c, n) / C(M, n)."""
    samples, right = len(correct), int(np.sum(correct))
    if not 1 <= n <= samples:
        raise ValueError(f"pass@{n} needs at least {n} samples, found {samples}")
    return 1.0 - comb(samples - right, n) / comb(samples, n)


def vote(
    answers: Sequence[str | None], correct: Bools, weights: Floats, n: Sequence[int], count: int, random: np.random.Generator
) -> Floats:
    """For each n, the expected accuracy of the answer with the largest sum of weights among n samples; shape [.., n].

    Weights of 1 give self-consistency; see `vote_weights` for those of scores. Samples without an answer (None) have no vote, and
    a subset without votes is wrong. Ties go to the answer that comes first, and an answer is right if the first sample with it
    is. Over all orders of a subset, the first sample with one of the tied answers is any of them with the same probability. So
    the expected accuracy of a subset is the share of right samples among those with a winning answer.

    It is the mean over all subsets of size n if n is 1 or if there are at most `count` of them. Otherwise it is the mean over
    `count` random subsets, the first n samples of random permutations.

    Args:
        answers: shape [M]; samples vote together if their answers are equal texts.
        weights: not negative, shape [.., M]; all are compared on the same subsets.
        count: number of random subsets.
    """
    samples = len(answers)
    if not 1 <= min(n) <= max(n) <= samples:
        raise ValueError(f"votes need sizes from 1 to {samples}, the number of samples; found {list(n)}")
    places = np.empty((count, samples), dtype=np.int64)  # of each sample in each permutation
    np.put_along_axis(places, np.argsort(random.random((count, samples)), axis=1), np.arange(samples)[None], axis=1)
    names: dict[str | None, int] = {
        answer: code for code, answer in enumerate(dict.fromkeys(answer for answer in answers if answer is not None))
    }
    votes = np.array([names.get(answer, -1) for answer in answers])[:, None] == np.arange(len(names))
    drawn = [_subsets(samples, size) if size == 1 or comb(samples, size) <= count else places < size for size in n]
    accuracy = _vote(np.concatenate(drawn).astype(np.float64), votes, np.asarray(correct), np.asarray(weights))
    ends = np.cumsum([len(members) for members in drawn])
    return np.stack([part.mean(axis=-1) for part in np.split(accuracy, ends[:-1], axis=-1)], axis=-1)


def _subsets(samples: int, size: int) -> Bools:
    """All subsets of this size; shape [subsets, samples], true for the subset's samples."""
    chosen = np.array(list(combinations(range(samples), size)))
    members = np.zeros((len(chosen), samples), dtype=np.bool_)
    np.put_along_axis(members, chosen, True, axis=1)
    return members


def _vote(members: Floats, votes: Bools, correct: Bools, weights: Floats) -> Floats:
    """The accuracy of the votes of each subset, see `vote`; shape [.., subsets].

    Args:
        members: shape [subsets, samples], 1 for the subset's samples.
        votes: shape [samples, answers], true for the sample's answer.
    """
    if votes.shape[1] == 0:
        return np.zeros((*weights.shape[:-1], len(members)))
    voters, right = members @ votes.astype(np.float64), members @ (votes & correct[:, None]).astype(np.float64)
    standing = np.where(voters > 0, members @ (votes * weights[..., None]), -1.0)
    highest = standing.max(axis=-1, keepdims=True)
    won = (voters > 0) & (np.abs(standing - highest) <= SAME_SUM * np.abs(highest))
    return np.asarray(np.einsum("sa,...sa->...s", right, won) / np.maximum(np.einsum("sa,...sa->...s", voters, won), 1))


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


def aggregate_all(solutions: Sequence[Sequence[float] | Floats], aggregation: str) -> Floats:
    """The score of each solution from its step logits, shape [solutions]; one without steps has the lowest score.

    `min` and `last` are logits, `product` is the sum of log sigma, and `mean` is the mean of sigma. Votes use their
    `vote_weights`, everything else only their order.
    """
    if aggregation not in AGGREGATIONS:
        raise ValueError(f"unknown aggregation {aggregation!r}; expected one of {', '.join(AGGREGATIONS)}")
    lengths = np.fromiter(map(len, solutions), dtype=np.int64, count=len(solutions))
    values = np.concatenate([np.asarray(one, dtype=np.float64) for one in solutions]) if len(solutions) else np.zeros(0)
    starts, scores = np.cumsum(lengths) - lengths, np.full(len(solutions), -np.inf)
    for length in np.unique(lengths[lengths > 0]):
        chosen = np.flatnonzero(lengths == length)
        scores[chosen] = _aggregate(values[starts[chosen][:, None] + np.arange(length)], aggregation)
    return scores


def _aggregate(logits: Floats, aggregation: str) -> Floats:
    """The scores of solutions with the same number of steps, shape [solutions, steps] to [solutions]."""
    if aggregation == "min":
        return np.asarray(logits.min(axis=1))
    if aggregation == "last":
        return logits[:, -1]
    if aggregation == "product":
        return np.asarray(-np.logaddexp(0.0, -logits).sum(axis=1))
    return np.asarray(probability(logits).mean(axis=1))


def aggregate(step_scores: Sequence[float], aggregation: str) -> float:
    """The score of one solution, see `aggregate_all`."""
    return float(aggregate_all([step_scores], aggregation)[0])


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
