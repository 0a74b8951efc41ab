"""The kernel of `drawing`, in Triton, which comes with torch for GPUs."""

import torch
import triton
import triton.language as tl
from torch import Tensor

BLOCK = 1024  # tokens that are read at once


def draw_row(logits: Tensor, uniform: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """See `draw`. Each row is read three times, but only the first time from the GPU's memory."""
    rows, size = logits.shape
    tokens = torch.empty(rows, dtype=torch.long, device=logits.device)
    gains = torch.empty(rows, dtype=torch.float32, device=logits.device)
    _draw[(rows,)](logits, uniform, tokens, gains, logits.stride(0), size, 1 / temperature, block=BLOCK)
    return tokens, gains


@triton.jit
def _draw(  # type: ignore[no-untyped-def]
    logits, uniform, tokens, gains, stride, size, inverse_temperature, block: tl.constexpr
):
    """One program per row: the row's maximum and sums, the block where the running sum passes the number, the token in it."""
    row = tl.program_id(0)
    begin, places = logits + row.to(tl.int64) * stride, tl.arange(0, block)
    highest = tl.full((), float("-inf"), tl.float32)
    plain_sum = tl.full((), 0.0, tl.float32)
    for start in range(0, size, block):
        values = tl.load(begin + start + places, mask=start + places < size, other=float("-inf")).to(tl.float32)
        higher = tl.maximum(highest, tl.max(values, 0))
        plain_sum = plain_sum * tl.exp(highest - higher) + tl.sum(tl.exp(values - higher), 0)
        highest = higher
    whole = tl.full((), 0.0, tl.float64)
    for start in range(0, size, block):
        values = tl.load(begin + start + places, mask=start + places < size, other=float("-inf")).to(tl.float32)
        whole += tl.sum(tl.exp((values - highest) * inverse_temperature), 0).to(tl.float64)
    wanted = tl.load(uniform + row) * whole
    running, before, own = tl.full((), 0.0, tl.float64), tl.full((), 0.0, tl.float64), tl.full((), 1.0, tl.float64)
    chosen = tl.full((), 0, tl.int32)
    for start in range(0, size, block):
        values = tl.load(begin + start + places, mask=start + places < size, other=float("-inf")).to(tl.float32)
        sum_of_block = tl.sum(tl.exp((values - highest) * inverse_temperature), 0).to(tl.float64)
        here = (running <= wanted) & (sum_of_block > 0)  # of the blocks that begin before the number, the last one has it
        chosen, before, own = tl.where(here, start, chosen), tl.where(here, running, before), tl.where(here, sum_of_block, own)
        running += sum_of_block
    values = tl.load(begin + chosen + places, mask=chosen + places < size, other=float("-inf")).to(tl.float32)
    chances = tl.exp((values - highest) * inverse_temperature).to(tl.float64)
    heights = tl.cumsum(chances, 0)
    left = (wanted - before) / own * tl.max(heights, 0)  # sums in another order differ by rounding
    last = tl.max(tl.where(chances > 0, places, 0), 0)
    token = chosen + tl.minimum(tl.sum((heights <= left).to(tl.int32), 0), last)
    tl.store(tokens + row, token.to(tl.int64))
    tl.store(gains + row, tl.load(begin + token).to(tl.float32) - highest - tl.log(plain_sum))
