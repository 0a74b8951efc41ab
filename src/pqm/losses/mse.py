"""Mean squared error on every step."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pqm.losses.common.loss import Loss

if TYPE_CHECKING:
    from torch import Tensor


def mse(scores: Tensor, labels: Tensor) -> Tensor:
    """(sigma(r) - y)^2 on hard or soft labels, mean over the steps; shape [trajectories]."""
    import torch

    from pqm.losses.common import steps

    probabilities, counted = torch.sigmoid(steps.as_float(scores)), labels != steps.IGNORED
    targets = torch.where(counted, labels, probabilities.detach())  # no error where there is no step
    # The operation of `F.mse_loss`, which first broadcasts its arguments. At this size that would be a tenth of the time.
    errors = torch.ops.aten.mse_loss(probabilities, targets, reduction=0)
    return errors.sum(dim=1) / counted.sum(dim=1, dtype=errors.dtype).clamp_(min=1)


LOSS = Loss(mse, "MSE, {targets}", method="mse-{targets}", soft_targets=True, colour="#56B4E9", order=20)
