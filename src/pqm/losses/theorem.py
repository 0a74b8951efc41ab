"""PQM's theoretical loss (paper Eq. 9)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pqm.losses.common.loss import Loss
from pqm.losses.common.margin import Margin, Normalizer

if TYPE_CHECKING:
    from torch import Tensor


def theorem(scores: Tensor, labels: Tensor, zeta: Margin, normalizer: Normalizer = "factors") -> Tensor:
    """Eq. 9: the sum of Eq. 10 and the ranking among the wrong steps, divided by the number of steps; shape [trajectories]."""
    import torch

    from pqm.losses.common.ranking import correct_factors, log_of_nothing, with_official_epsilon
    from pqm.losses.common.steps import as_float

    official = normalizer == "official"
    scores, correct, wrong = as_float(scores), labels == 1, labels == 0
    steps = (correct | wrong).sum(dim=1)
    falling = torch.logcumsumexp(torch.where(wrong, scores, log_of_nothing(scores)).flip(1), dim=1).flip(1)
    if official:  # in their code, a wrong step in the last slot of a batch is left out, so that its loss depends on the batch
        falling = with_official_epsilon(falling)
    ranked = correct_factors(scores, correct, wrong, zeta, normalizer, counted_twice=official)
    if official:  # their code divides this part by the number of steps plus 1
        ranked = ranked * steps / (steps + 1)
    total = ranked + torch.where(wrong, falling - scores, 0).sum(dim=1)
    return torch.where(steps > 0, total / steps.clamp(min=1), 0)


LOSS = Loss(theorem, "Eq. 9 (theorem), ζ = {zeta:g}", method="theorem-zeta{zeta:g}", colour="#56B4E9", order=50)
