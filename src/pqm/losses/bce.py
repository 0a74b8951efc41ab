"""Binary cross-entropy on every step: the usual process reward model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pqm.losses.common.loss import Loss

if TYPE_CHECKING:
    from torch import Tensor


def bce(scores: Tensor, labels: Tensor) -> Tensor:
    """Binary cross-entropy of sigma(r) on hard or soft labels, mean over the steps; shape [trajectories]."""
    import torch

    from pqm.losses.common import steps

    scores = steps.as_float(scores)
    targets, shares = labels.clamp(min=0).to(scores.dtype), steps.shares(labels, scores.dtype)
    return torch.nn.functional.binary_cross_entropy_with_logits(scores, targets, shares, reduction="none").sum(dim=1)


LOSS = Loss(bce, "BCE", soft_targets=True, colour="#009E73", order=30)
