"""Arithmetic on padded steps, in float32 or the input's higher precision."""

from typing import Literal

import torch
from torch import Tensor

IGNORED = -100  # the label of steps beyond a trajectory's end
Weighting = Literal["trajectory", "step"]

_IGNORED = torch.tensor(float(IGNORED))  # a comparison with a tensor is faster than one with a number


def as_float(scores: Tensor) -> Tensor:
    """Convert scores to float32; float64 is kept."""
    return scores if scores.dtype == torch.float64 else scores.float()


def counted(labels: Tensor) -> Tensor:
    """Whether a step has a label, shape [trajectories, steps]."""
    return labels != _IGNORED


def shares(labels: Tensor, dtype: torch.dtype) -> Tensor:
    """The weight of each step in the mean over its trajectory's steps, 0 if it has no label; shape [trajectories, steps]."""
    weights = counted(labels).to(dtype)
    return weights / weights.sum(dim=1, keepdim=True).clamp_(min=1)


def reduce(losses: Tensor, labels: Tensor, weighting: Weighting) -> tuple[Tensor, Tensor]:
    """The weighted sum of trajectory losses, and the sum of the weights; their quotient is the mean loss.

    `trajectory`: every labelled trajectory has weight 1. `step`: its weight is its number of labelled steps.
    """
    steps, dtype = counted(labels), losses.dtype
    weights = steps.any(dim=1).to(dtype) if weighting == "trajectory" else steps.sum(dim=1, dtype=dtype)
    return losses.dot(weights), weights.sum()
