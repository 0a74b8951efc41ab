"""Drawing a token per row from logits and a uniform random number."""

from importlib.util import find_spec

import torch
from torch import Tensor
from torch.nn.functional import pad

BLOCK = 256
BELOW_ONE = 1 - 2**-53


def draw(logits: Tensor, uniform: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """Draw one token per row by inverse transform sampling, and return it with its log probability at temperature 1.

    First a block of tokens is drawn and then a token in it, because a running sum over a large vocabulary would take longer than
    the model. Running sums are in double precision. On a GPU a kernel does so (`draw_kernel`).

    Args:
        logits: shape [rows, vocabulary].
        uniform: numbers in [0, 1), float64, shape [rows].
    """
    if logits.is_cuda and find_spec("triton"):
        from pqm.models.sampling.draw_kernel import draw_row

        return draw_row(logits, uniform, temperature)
    logits, size = logits.float(), logits.shape[-1]
    chances = torch.softmax(logits / temperature, dim=-1)
    if size % BLOCK:
        chances = pad(chances, (0, -size % BLOCK))
    blocks = chances.unflatten(-1, (-1, BLOCK))
    sums = blocks.sum(dim=-1).double()
    heights = sums.cumsum(dim=-1)
    wanted = uniform.unsqueeze(1) * heights[:, -1:]
    block = (heights <= wanted).sum(dim=-1, keepdim=True).clamp_(max=heights.shape[-1] - 1)
    left = (wanted - pad(heights, (1, 0)).gather(1, block)) / sums.gather(1, block)
    left.clamp_(max=BELOW_ONE)  # share of the block's sum, which rounding can make 1
    inside = blocks.gather(1, block.unsqueeze(-1).expand(-1, 1, BLOCK)).squeeze(1).double().cumsum(dim=-1)
    place = (inside <= left * inside[:, -1:]).sum(dim=-1).clamp_(max=BLOCK - 1)
    token = (block.squeeze(1) * BLOCK + place).clamp_(max=size - 1)
    return token, torch.log_softmax(logits, dim=-1).gather(1, token.unsqueeze(1)).squeeze(1)
