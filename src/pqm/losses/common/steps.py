"""Arithmetic on padded steps, in float32 or the input's higher precision."""

from typing import Literal

import torch
from torch import Tensor

IGNORED = -100  # the label of steps beyond a trajectory's end
Weighting = Literal["trajectory", "step"]


def as_float(scores: Tensor) -> Tensor:
    """Convert scores to float32; float64 is kept."""
    return scores if scores.dtype == torch.float64 else scores.float()


def mean_over_steps(terms: Tensor, counted: Tensor) -> Tensor:
    """The mean over each trajectory's counted steps, or 0 if there are none; shape [trajectories]."""
    return torch.where(counted, terms, 0).sum(dim=1) / counted.sum(dim=1).clamp(min=1)


def reduce(losses: Tensor, labels: Tensor, weighting: Weighting) -> tuple[Tensor, Tensor]:
    """The weighted sum of trajectory losses, and the sum of the weights; their quotient is the mean loss.

    `trajectory`: every labelled trajectory has weight 1. `step`: its weight is its number of labelled steps.
    """
    steps = (labels != IGNORED).sum(dim=1)
    weights = (steps > 0).to(losses.dtype) if weighting == "trajectory" else steps.to(losses.dtype)
    return (losses * weights).sum(), weights.sum()
