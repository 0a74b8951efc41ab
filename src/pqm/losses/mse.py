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

    probabilities, counted = steps.as_float(scores).sigmoid(), steps.counted(labels)
    targets = torch.where(counted, labels, probabilities.detach())  # no error where there is no step
    # The function behind `F.mse_loss`, which first broadcasts its arguments. At this size that would be a tenth of the time.
    errors = torch._C._nn.mse_loss(probabilities, targets, 0)  # type: ignore[arg-type]  # a wrong stub
    return errors.sum(dim=1) / counted.sum(dim=1, dtype=errors.dtype).clamp_(min=1)


LOSS = Loss(mse, "MSE, {targets}", method="mse-{targets}", soft_targets=True, colour="#56B4E9", order=20)
