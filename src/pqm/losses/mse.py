"""Mean squared error on every step."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pqm.losses.common.loss import Loss

if TYPE_CHECKING:
    from torch import Tensor


def mse(scores: Tensor, labels: Tensor) -> Tensor:
    """(sigma(r) - y)^2 on hard or soft labels, mean over the steps; shape [trajectories]."""
    import torch

    from pqm.losses.common.steps import IGNORED, as_float, mean_over_steps

    scores, counted = as_float(scores), labels != IGNORED
    return mean_over_steps((torch.sigmoid(scores) - torch.where(counted, labels, 0)).square(), counted)


LOSS = Loss(mse, "MSE, {targets}", method="mse-{targets}", soft_targets=True, colour="#56B4E9", order=20)
