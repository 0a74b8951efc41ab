"""Arithmetic on padded steps, in float32 or the input's higher precision."""

from typing import Literal

import torch
from torch import Tensor

IGNORED = -100  # the label of steps beyond a trajectory's end
Weighting = Literal["trajectory", "step"]


def as_float(scores: Tensor) -> Tensor:
    """Convert scores to float32; float64 is kept."""
    return scores if scores.dtype == torch.float64 else scores.float()


def shares(labels: Tensor, dtype: torch.dtype) -> Tensor:
    """The weight of each step in the mean over its trajectory's steps, 0 if it has no label; shape [trajectories, steps]."""
    counted = (labels != IGNORED).to(dtype)
    return counted / counted.sum(dim=1, keepdim=True).clamp_(min=1)


def reduce(losses: Tensor, labels: Tensor, weighting: Weighting) -> tuple[Tensor, Tensor]:
    """The weighted sum of trajectory losses, and the sum of the weights; their quotient is the mean loss.

    `trajectory`: every labelled trajectory has weight 1. `step`: its weight is its number of labelled steps.
    """
    counted, dtype = labels != IGNORED, losses.dtype
    weights = counted.any(dim=1).to(dtype) if weighting == "trajectory" else counted.sum(dim=1, dtype=dtype)
    return losses.dot(weights), weights.sum()
