"""RMSNorm with few passes over memory.

`transformers` computes it from separate operations, each with a backward pass of its own, which takes more than twice as long.
On the CPU it is one function here, and on a GPU the one of torch.
"""

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.nn.functional import rms_norm
from transformers import PreTrainedModel


class RmsNorm(Function):
    """y = w x / sqrt(mean(x^2) + eps) over the last dimension, and its gradient in closed form."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        scale = torch.linalg.vector_norm(x, dim=-1, keepdim=True).square_().div_(x.shape[-1]).add_(eps).rsqrt_()
        scaled = x * scale
        ctx.save_for_backward(scaled, scale, weight)
        return scaled * weight

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        (gradient,) = gradients
        scaled, scale, weight = ctx.saved_tensors
        product = gradient * scaled
        along = product @ (weight / weight.shape[0]).unsqueeze(-1)  # mean of the part of the gradient along x
        of_x = (gradient * weight).addcmul_(scaled, along, value=-1).mul_(scale)
        return of_x, product.flatten(0, -2).sum(dim=0), None


def use_fast_norms(model: PreTrainedModel) -> None:
    """Replace a model's RMSNorm layers, but for those that compute in another precision than float32 on the CPU.

    Only layers with the formula of Llama are replaced; they have an attribute `variance_epsilon`. (Gemma's differs.)
    """
    for layer in model.modules():
        if type(layer).__name__.endswith("RMSNorm") and hasattr(layer, "variance_epsilon"):
            layer.forward = _fast_forward(layer, layer.forward)


def _fast_forward(layer: nn.Module, plain: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    def forward(hidden: Tensor) -> Tensor:
        if hidden.device.type == "cuda":
            with torch.autocast("cuda", enabled=False):  # it computes in float32, and the result has the precision of its input
                weight = cast(Tensor, layer.weight).to(hidden.dtype)
                return rms_norm(hidden, list(hidden.shape[-1:]), weight, cast(float, layer.variance_epsilon))
        if hidden.dtype != torch.float32:
            return plain(hidden)
        return cast(Tensor, RmsNorm.apply(hidden, layer.weight, layer.variance_epsilon))

    return forward
