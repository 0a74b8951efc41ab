"""PQM's practical loss (paper Eq. 10)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pqm.losses.common.loss import Loss
from pqm.losses.common.margin import Margin, Normalizer

if TYPE_CHECKING:
    from torch import Tensor


def pqm(scores: Tensor, labels: Tensor, zeta: Margin, normalizer: Normalizer = "factors") -> Tensor:
    """Eq. 10: rank each correct step above the start, the earlier correct steps and all wrong steps; shape [trajectories]."""
    from pqm.losses.common.ranking import ranking

    return ranking(scores, labels, labels == 0, zeta, normalizer)


LOSS = Loss(pqm, "PQM, ζ = {zeta:g}", method="pqm-zeta{zeta:g}", colour="#0072B2", order=40)
