"""Outcome reward model: binary cross-entropy at the last step only."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pqm.losses.common.loss import Loss

if TYPE_CHECKING:
    from torch import Tensor


def orm(scores: Tensor, labels: Tensor) -> Tensor:
    """Binary cross-entropy at the last step; the target is 1 if no step is wrong; shape [trajectories]."""
    import torch
    from torch.nn.functional import binary_cross_entropy_with_logits

    from pqm.losses.common.steps import IGNORED, as_float

    scores, counted = as_float(scores), labels != IGNORED
    place = torch.arange(labels.shape[1], device=labels.device)
    last = torch.where(counted, place, -1).amax(dim=1)
    at_last = scores.gather(1, last.clamp(min=0).unsqueeze(1)).squeeze(1)
    target = (~(labels == 0).any(dim=1)).to(scores.dtype)
    return torch.where(last >= 0, binary_cross_entropy_with_logits(at_last, target, reduction="none"), 0)


LOSS = Loss(orm, "ORM", outcome=True, colour="#E69F00", order=10)
