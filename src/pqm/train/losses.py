"""The losses of process and outcome reward models (paper section 3; equation numbers are the paper's).

One signature for all: scores `r` and labels `y` of shape [trajectories, steps]; steps beyond a trajectory's end
carry the label `IGNORED`, and a trajectory without labels costs nothing and gets no gradient. Everything is
computed in float32 (or the input's higher precision) and in log space, so no score overflows. Each function
returns one loss a trajectory, shape [trajectories]; `reduce` makes them one number.

The normalizer says what Eq. 10 and Eq. 12 divide a trajectory's sum by:

    factors   the number of factors that can cost anything: |C|, and slot 0 where the trajectory has a wrong step
    printed   |C|, as the paper prints it (1 where no step is correct)
    official  `factors` with the authors' two habits: 1e-5 inside every denominator, and Eq. 12 without margin

Eq. 9 is divided by the number of steps H, as printed, in every mode.
"""

import math
from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

IGNORED = -100
Normalizer = Literal["factors", "printed", "official"]
Weighting = Literal["trajectory", "step"]
OFFICIAL_EPSILON = 1e-5


def _float(scores: Tensor) -> Tensor:
    return scores if scores.dtype == torch.float64 else scores.float()


def _log_of_nothing(scores: Tensor) -> float:
    """A logarithm whose exp is 0 in this precision, and that can be added to without overflow."""
    return torch.finfo(scores.dtype).min / 4


def _correct_factors(scores: Tensor, correct: Tensor, negatives: Tensor, zeta: float, normalizer: Normalizer) -> Tensor:
    """Sum over slot 0 (Q_0 = 0) and the correct steps of -log of their factor in Eq. 10, shape [trajectories]."""
    nothing = _log_of_nothing(scores)
    wrong = torch.logsumexp(torch.where(negatives, scores + zeta, nothing), dim=1, keepdim=True)
    if normalizer == "official":
        wrong = torch.logaddexp(wrong, torch.full_like(wrong, math.log(OFFICIAL_EPSILON)))
    slot0 = torch.where(negatives.any(dim=1, keepdim=True), F.softplus(wrong), 0)
    start = torch.zeros_like(scores[:, :1])
    rising = torch.logcumsumexp(torch.cat([start, torch.where(correct, scores, nothing)], dim=1), dim=1)[:, 1:]
    steps = torch.where(correct, torch.logaddexp(rising, wrong) - scores, 0)
    return slot0.squeeze(1) + steps.sum(dim=1)


def pqm(scores: Tensor, labels: Tensor, zeta: float, normalizer: Normalizer = "factors") -> Tensor:
    """Eq. 10, the practical loss: every correct step against the start, the earlier correct steps and all wrong steps."""
    return _ranking(scores, labels, labels == 0, zeta, normalizer)


def first_error(scores: Tensor, labels: Tensor, zeta: float, normalizer: Normalizer = "factors") -> Tensor:
    """Eq. 12, the ablation: Eq. 10 with the first wrong step as the only negative."""
    wrong = labels == 0
    return _ranking(scores, labels, wrong & (wrong.cumsum(dim=1) == 1), 0.0 if normalizer == "official" else zeta, normalizer)


def _ranking(scores: Tensor, labels: Tensor, negatives: Tensor, zeta: float, normalizer: Normalizer) -> Tensor:
    scores, correct = _float(scores), labels == 1
    total = _correct_factors(scores, correct, negatives, zeta, normalizer)
    has_wrong = negatives.any(dim=1)
    factors = correct.sum(dim=1) + (has_wrong if normalizer != "printed" else 0)
    return torch.where(correct.any(dim=1) | has_wrong, total / factors.clamp(min=1), 0)


def theorem(scores: Tensor, labels: Tensor, zeta: float, normalizer: Normalizer = "factors") -> Tensor:
    """Eq. 9, the theoretical loss: the sum of Eq. 10 and the ranking among the wrong steps, divided by H."""
    scores, correct, wrong = _float(scores), labels == 1, labels == 0
    falling = torch.logcumsumexp(torch.where(wrong, scores, _log_of_nothing(scores)).flip(1), dim=1).flip(1)
    if normalizer == "official":
        falling = torch.logaddexp(falling, torch.full_like(falling, math.log(OFFICIAL_EPSILON)))
    total = _correct_factors(scores, correct, wrong, zeta, normalizer) + torch.where(wrong, falling - scores, 0).sum(dim=1)
    steps = (correct | wrong).sum(dim=1)
    return torch.where(steps > 0, total / steps.clamp(min=1), 0)


def _mean_over_steps(terms: Tensor, counted: Tensor) -> Tensor:
    return torch.where(counted, terms, 0).sum(dim=1) / counted.sum(dim=1).clamp(min=1)


def bce(scores: Tensor, labels: Tensor) -> Tensor:
    """Binary cross-entropy of sigma(r) on hard or soft labels, mean over the steps (the classification PRM)."""
    scores, counted = _float(scores), labels != IGNORED
    targets = torch.where(counted, labels, 0).to(scores.dtype)
    return _mean_over_steps(F.binary_cross_entropy_with_logits(scores, targets, reduction="none"), counted)


def mse(scores: Tensor, labels: Tensor) -> Tensor:
    """(sigma(r) - y)^2 on hard or soft labels, mean over the steps."""
    scores, counted = _float(scores), labels != IGNORED
    return _mean_over_steps((torch.sigmoid(scores) - torch.where(counted, labels, 0)).square(), counted)


def orm(scores: Tensor, labels: Tensor) -> Tensor:
    """Outcome reward model: BCE at the last step; the target is "no step is wrong"."""
    scores, counted = _float(scores), labels != IGNORED
    place = torch.arange(labels.shape[1], device=labels.device)
    last = torch.where(counted, place, -1).amax(dim=1)
    at_last = scores.gather(1, last.clamp(min=0).unsqueeze(1)).squeeze(1)
    target = (~(labels == 0).any(dim=1)).to(scores.dtype)
    return torch.where(last >= 0, F.binary_cross_entropy_with_logits(at_last, target, reduction="none"), 0)


def loss_function(name: str, zeta: float | None, normalizer: Normalizer) -> Callable[[Tensor, Tensor], Tensor]:
    """The loss of a run by its configured name; ranking losses take `zeta` and `normalizer`."""
    ranking = {"pqm": pqm, "theorem": theorem, "first-error": first_error}
    if name in ranking:
        assert zeta is not None
        margin = zeta
        return lambda scores, labels: ranking[name](scores, labels, margin, normalizer)
    return {"bce": bce, "mse": mse, "orm": orm}[name]


def reduce(losses: Tensor, labels: Tensor, weighting: Weighting) -> tuple[Tensor, Tensor]:
    """Weighted sum of trajectory losses and the sum of the weights; dividing one by the other is the mean.

    `trajectory`: every labelled trajectory weighs 1, whatever the loss and its length. `step`: it weighs its labelled steps.
    """
    steps = (labels != IGNORED).sum(dim=1)
    weights = (steps > 0).to(losses.dtype) if weighting == "trajectory" else steps.to(losses.dtype)
    return (losses * weights).sum(), weights.sum()
