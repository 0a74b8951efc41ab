"""Outcome reward model: binary cross-entropy at the last step only."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pqm.losses.common.loss import Loss

if TYPE_CHECKING:
    from torch import Tensor


def orm(scores: Tensor, labels: Tensor) -> Tensor:
    """Binary cross-entropy at the last step; the target is 1 if no step is wrong; shape [trajectories]."""
    import torch

    from pqm.losses.common import steps

    scores, counted = steps.as_float(scores), steps.counted(labels)
    last = counted.cumsum(dim=1).argmax(dim=1, keepdim=True)
    at_last, no_wrong = scores.gather(1, last).squeeze(1), labels.all(dim=1).to(scores.dtype)  # a label of 0 is false
    return torch.nn.functional.binary_cross_entropy_with_logits(at_last, no_wrong, counted.any(dim=1), reduction="none")


LOSS = Loss(orm, "ORM", outcome=True, colour="#E69F00", order=10)
