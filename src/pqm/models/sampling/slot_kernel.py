"""The kernel of `decode_attention`, in Triton, which comes with torch for GPUs."""

import torch
import triton
import triton.language as tl
from torch import Tensor

BLOCK, WARPS, STAGES = 64, 4, 3  # tokens that are read at once, and how


def attend(query: Tensor, keys: Tensor, values: Tensor, positions: Tensor, scale: float) -> Tensor:
    """The attention of one token per row, shape [rows, heads, size].

    Args:
        query: shape [rows, heads, size].
        keys, values: of the slots, shape [rows, key heads, length, size], with the same strides.
        positions: of the rows' tokens in their texts, shape [rows]; later places are not read.
    """
    rows, heads, size = query.shape
    key_heads = keys.shape[1]
    query, output = query.contiguous(), torch.empty_like(query)
    _attend[(rows, key_heads)](
        query, keys, values, output, positions, keys.stride(0), keys.stride(1), scale,
        key_heads=key_heads, group=heads // key_heads, padded=max(16, triton.next_power_of_2(heads // key_heads)),
        size=size, block=BLOCK, precision="ieee" if query.dtype == torch.float32 else "tf32",
        num_warps=WARPS, num_stages=1 if query.dtype == torch.float32 else STAGES,  # blocks of float32 are too large to load several ahead
    )  # fmt: skip
    return output


@triton.jit
def _attend(  # type: ignore[no-untyped-def]
    query, keys, values, output, positions, row_stride, head_stride, scale,
    key_heads: tl.constexpr, group: tl.constexpr, padded: tl.constexpr, size: tl.constexpr, block: tl.constexpr,
    precision: tl.constexpr,
):  # fmt: skip
    """One program per row and key head: a running softmax over blocks of the row's text."""
    row, head = tl.program_id(0), tl.program_id(1)
    tokens = tl.load(positions + row) + 1
    members, columns, places = tl.arange(0, padded), tl.arange(0, size), tl.arange(0, block)
    own = ((row * key_heads + head) * group + members[:, None]) * size + columns[None, :]
    q = tl.load(query + own, mask=members[:, None] < group, other=0.0)
    begin = row.to(tl.int64) * row_stride + head * head_stride
    highest = tl.full([padded], float("-inf"), tl.float32)
    total = tl.zeros([padded], tl.float32)
    result = tl.zeros([padded, size], tl.float32)
    for start in range(0, tokens, block):
        at = start + places
        inside = at < tokens
        text = begin + at[:, None] * size + columns[None, :]
        k = tl.load(keys + text, mask=inside[:, None], other=0.0)
        v = tl.load(values + text, mask=inside[:, None], other=0.0)
        scores = tl.dot(q, tl.trans(k), input_precision=precision) * scale
        scores = tl.where(inside[None, :], scores, float("-inf"))
        higher = tl.maximum(highest, tl.max(scores, 1))
        weights, kept = tl.exp(scores - higher[:, None]), tl.exp(highest - higher)
        total = total * kept + tl.sum(weights, 1)
        result = result * kept[:, None] + tl.dot(weights.to(v.dtype), v, input_precision=precision)
        highest = higher
    tl.store(output + own, (result / total[:, None]).to(output.dtype.element_ty), mask=members[:, None] < group)
