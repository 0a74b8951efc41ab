"""PQM with the first wrong step as the only negative (paper Eq. 12, an ablation)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pqm.losses.common.loss import Loss
from pqm.losses.common.margin import Margin, Normalizer

if TYPE_CHECKING:
    from torch import Tensor


def first_error(scores: Tensor, labels: Tensor, zeta: Margin, normalizer: Normalizer = "factors") -> Tensor:
    """Eq. 12: Eq. 10 with the first wrong step as the only negative; shape [trajectories]."""
    from pqm.losses.common.ranking import ranking

    wrong = labels == 0
    first = wrong & (wrong.cumsum(dim=1) == 1)
    return ranking(scores, labels, first, 0.0 if normalizer == "official" else zeta, normalizer)


LOSS = Loss(first_error, "Eq. 12 (first error), ζ = {zeta:g}", method="first-error-zeta{zeta:g}", colour="#E69F00", order=60)
