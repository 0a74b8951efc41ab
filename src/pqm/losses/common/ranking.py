"""The factors of the paper's ranking losses (Eq. 9, Eq. 10, Eq. 12), in log space to avoid overflow."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from pqm.losses.common.margin import Normalizer
from pqm.losses.common.steps import as_float

OFFICIAL_EPSILON = 1e-5


def log_of_nothing(scores: Tensor) -> float:
    """A stand-in for log 0: its exp is 0 in this precision, and sums with it do not overflow."""
    return torch.finfo(scores.dtype).min / 4


def with_official_epsilon(log_sum: Tensor) -> Tensor:
    """The logarithm of a denominator to which the authors' code adds 1e-5."""
    return torch.logaddexp(log_sum, torch.full_like(log_sum, math.log(OFFICIAL_EPSILON)))


def correct_factors(
    scores: Tensor, correct: Tensor, negatives: Tensor, zeta: float, normalizer: Normalizer, counted_twice: bool = False
) -> Tensor:
    """Sum over slot 0 (Q_0 = 0) and the correct steps of -log of their factor in Eq. 10, shape [trajectories].

    Args:
        counted_twice: whether each step after the first one is counted twice in its own denominator.
    """
    nothing = log_of_nothing(scores)
    wrong = torch.logsumexp(torch.where(negatives, scores + zeta, nothing), dim=1, keepdim=True)
    if normalizer == "official":
        wrong = with_official_epsilon(wrong)
    slot0 = torch.where(negatives.any(dim=1, keepdim=True), F.softplus(wrong), 0)
    start = torch.zeros_like(scores[:, :1])
    rising = torch.logcumsumexp(torch.cat([start, torch.where(correct, scores, nothing)], dim=1), dim=1)[:, 1:]
    if counted_twice:
        rising = torch.cat([rising[:, :1], torch.logaddexp(rising, scores)[:, 1:]], dim=1)
    steps = torch.where(correct, torch.logaddexp(rising, wrong) - scores, 0)
    return slot0.squeeze(1) + steps.sum(dim=1)


def ranking(scores: Tensor, labels: Tensor, negatives: Tensor, zeta: float, normalizer: Normalizer) -> Tensor:
    """Eq. 10 with the wrong steps `negatives`, shape [trajectories]."""
    scores, correct = as_float(scores), labels == 1
    total = correct_factors(scores, correct, negatives, zeta, normalizer)
    has_wrong = negatives.any(dim=1)
    factors = correct.sum(dim=1) + (has_wrong if normalizer != "printed" else 0)
    return torch.where(correct.any(dim=1) | has_wrong, total / factors.clamp(min=1), 0)
