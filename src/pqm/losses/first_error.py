"""PQM with the first wrong step as the only negative (paper Eq. 12, an ablation)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pqm.losses.common.loss import Loss
from pqm.losses.common.margin import Margin, Normalizer

if TYPE_CHECKING:
    from torch import Tensor


def first_error(scores: Tensor, labels: Tensor, zeta: Margin, normalizer: Normalizer = "factors") -> Tensor:
    """Eq. 12: Eq. 10 with the first wrong step as the only negative; shape [trajectories]."""
    import torch

    from pqm.losses.common.ranking import ranking

    wrong = labels == 0
    if normalizer == "official":  # their code has no margin, and finds the first wrong step by the number of correct steps
        place = torch.arange(labels.shape[1], device=labels.device)
        first = (place == (labels == 1).sum(dim=1, keepdim=True)) & wrong.any(dim=1, keepdim=True)
        return ranking(scores, labels, first, 0.0, normalizer)
    first = wrong & (wrong.cumsum(dim=1) == 1)
    return ranking(scores, labels, first, zeta, normalizer)


LOSS = Loss(first_error, "Eq. 12 (first error), ζ = {zeta:g}", method="first-error-zeta{zeta:g}", colour="#E69F00", order=60)
