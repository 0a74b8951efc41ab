"""PQM's theoretical loss (paper Eq. 9)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pqm.losses.common.loss import Loss
from pqm.losses.common.margin import Margin, Normalizer

if TYPE_CHECKING:
    from torch import Tensor


def theorem(scores: Tensor, labels: Tensor, zeta: Margin, normalizer: Normalizer = "factors") -> Tensor:
    """Eq. 9: the sum of Eq. 10 and the ranking among the wrong steps, divided by the number of steps; shape [trajectories]."""
    from pqm.losses.common.ranking import correct_factors, values, with_gradient, wrong_factors

    official = normalizer == "official"
    q, correct, wrong = values(scores), labels == 1, labels == 0
    costs, gradient = correct_factors(q, correct, wrong, zeta, normalizer, counted_twice=official)
    among_wrong, wrong_gradient = wrong_factors(q, wrong, normalizer)
    steps = (correct | wrong).sum(dim=1, dtype=q.dtype).clamp(min=1)
    if official:  # their code divides the correct part by the number of steps plus 1
        share = steps / (steps + 1)
        costs, gradient = costs * share, gradient * share.unsqueeze(1)
    return with_gradient(scores, (costs + among_wrong) / steps, (gradient + wrong_gradient) / steps.unsqueeze(1))


LOSS = Loss(theorem, "Eq. 9 (theorem), ζ = {zeta:g}", method="theorem-zeta{zeta:g}", colour="#56B4E9", order=50)
