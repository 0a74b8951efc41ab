"""Binary cross-entropy on every step: the usual process reward model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pqm.losses.common.loss import Loss

if TYPE_CHECKING:
    from torch import Tensor


def bce(scores: Tensor, labels: Tensor) -> Tensor:
    """Binary cross-entropy of sigma(r) on hard or soft labels, mean over the steps; shape [trajectories]."""
    import torch
    from torch.nn.functional import binary_cross_entropy_with_logits

    from pqm.losses.common.steps import IGNORED, as_float, mean_over_steps

    scores, counted = as_float(scores), labels != IGNORED
    targets = torch.where(counted, labels, 0).to(scores.dtype)
    return mean_over_steps(binary_cross_entropy_with_logits(scores, targets, reduction="none"), counted)


LOSS = Loss(bce, "BCE", soft_targets=True, colour="#009E73", order=30)
