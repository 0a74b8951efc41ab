"""The factors of the paper's ranking losses (Eq. 9, Eq. 10, Eq. 12), with their gradients in closed form.

A factor is exp(Q) of a step, divided by a sum of exp(Q). All terms are positive, so nothing cancels, and in double precision exp(Q)
of any usual score is far from overflow. So the sums are cumulative sums of exponentials as printed, not of logarithms, which take
several times longer. Scores beyond `LIMIT` count as `LIMIT`, with the gradient that they have there.
"""

import torch
from torch import Tensor

from pqm.losses.common.margin import Normalizer
from pqm.losses.common.steps import as_float

LIMIT = 600.0  # the exponentials of this score and of its negative, and sums of them, are normal numbers in double precision
OFFICIAL_EPSILON = 1e-5


class _WithGradient(torch.autograd.Function):
    """Losses of trajectories whose gradient is already known."""

    @staticmethod
    def forward(ctx, scores: Tensor, losses: Tensor, gradient: Tensor) -> Tensor:  # type: ignore[no-untyped-def]
        ctx.save_for_backward(gradient)
        return losses

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, upstream: Tensor) -> tuple[Tensor, None, None]:  # type: ignore[no-untyped-def]
        (gradient,) = ctx.saved_tensors
        return upstream.unsqueeze(1) * gradient, None, None


def with_gradient(scores: Tensor, losses: Tensor, gradient: Tensor) -> Tensor:
    """`losses`, shape [trajectories], with their gradient for `scores`, shape [trajectories, steps], in the precision of a loss."""
    scores = as_float(scores)
    return _WithGradient.apply(scores, losses.to(scores.dtype), gradient.to(scores.dtype))


def values(scores: Tensor) -> Tensor:
    """The scores Q in double precision and within the limit, without gradient."""
    return scores.detach().double().clamp(-LIMIT, LIMIT)


def correct_factors(
    q: Tensor, correct: Tensor, negatives: Tensor, zeta: float, normalizer: Normalizer, counted_twice: bool = False
) -> tuple[Tensor, Tensor]:
    """Sum over slot 0 (Q_0 = 0) and the correct steps of -log of their factor in Eq. 10, and its gradient.

    Args:
        q: the scores, from `values`.
        counted_twice: whether each step after the first one is counted twice in its own denominator.

    Returns:
        The sums, shape [trajectories], and the gradient, shape [trajectories, steps].
    """
    start = 1 + (OFFICIAL_EPSILON if normalizer == "official" else 0)
    rewards = torch.where(correct, q.exp(), 0)
    against = torch.where(negatives, (q + zeta).clamp(max=LIMIT).exp(), 0)
    denominators = torch.cat([start + against.sum(dim=1, keepdim=True), rewards], dim=1).cumsum(dim=1)
    if counted_twice:
        denominators[:, 2:] += rewards[:, 1:]
    counted = torch.cat([negatives.any(dim=1, keepdim=True), correct], dim=1)
    costs = _costs(denominators, torch.nn.functional.pad(q, (1, 0)), counted)
    inverse = counted / denominators
    later = inverse.flip(1).cumsum(dim=1).flip(1)  # over the factors whose denominators contain the step
    gradient = rewards * later[:, 1:] + against * later[:, :1] - correct.to(q.dtype)
    if counted_twice:
        gradient[:, 1:] += rewards[:, 1:] * inverse[:, 2:]
    return costs, gradient


def wrong_factors(q: Tensor, wrong: Tensor, normalizer: Normalizer) -> tuple[Tensor, Tensor]:
    """Sum over the wrong steps of -log of their factor in Eq. 9, among the wrong steps from them on, and its gradient.

    Returns:
        The sums, shape [trajectories], and the gradient, shape [trajectories, steps].
    """
    rewards = torch.where(wrong, q.exp(), 0)
    falling = rewards.flip(1).cumsum(dim=1).flip(1)
    if normalizer == "official":  # their code leaves out a wrong step in the batch's last slot; here no loss depends on its batch
        falling = falling + OFFICIAL_EPSILON
    denominators = torch.where(wrong, falling, 1)
    earlier = (wrong / denominators).cumsum(dim=1)  # over the factors whose denominators contain the step
    return _costs(denominators, q, wrong), rewards * earlier - wrong.to(q.dtype)


def _costs(denominators: Tensor, q: Tensor, counted: Tensor) -> Tensor:
    """Sum over the counted factors of log(denominator) - Q, which rounding alone can make negative; shape [trajectories]."""
    return torch.where(counted, denominators.log() - q, 0).clamp(min=0).sum(dim=1)


def ranking(scores: Tensor, labels: Tensor, negatives: Tensor, zeta: float, normalizer: Normalizer) -> Tensor:
    """Eq. 10 with the wrong steps `negatives`, shape [trajectories]."""
    correct = labels == 1
    costs, gradient = correct_factors(values(scores), correct, negatives, zeta, normalizer)
    factors = correct.sum(dim=1)
    if normalizer != "printed":
        factors = factors + negatives.any(dim=1)
    factors = factors.clamp(min=1)
    return with_gradient(scores, costs / factors, gradient / factors.unsqueeze(1))
