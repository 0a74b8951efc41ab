"""Attention of texts of different lengths without padding, by FlashAttention: on a GPU, in bfloat16 or float16."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import Tensor

LARGEST = 256  # size of a head
LEAST_CAPABILITY = (8, 0)


@dataclass(frozen=True)
class Piece:
    """Consecutive tokens of the row, `start` to `end`, and the places of their whole text, with the prompt and themselves."""

    start: int
    end: int
    text: np.ndarray

    @property
    def size(self) -> int:
        """Number of tokens."""
        return self.end - self.start


def takes_packed(values: Tensor) -> bool:
    """Whether FlashAttention computes the attention with these values, shape [.., size]."""
    if not values.is_cuda or values.dtype not in (torch.bfloat16, torch.float16):
        return False
    size = values.shape[-1]
    return torch.cuda.get_device_capability(values.device) >= LEAST_CAPABILITY and size <= LARGEST and size % 8 == 0


class PackedAttention:
    """The attention of each piece of a row to its own text.

    Args:
        pieces: pieces that contain each token of the row once.
    """

    def __init__(self, pieces: Sequence[Piece], device: torch.device) -> None:
        pieces = sorted(pieces, key=lambda piece: piece.start)  # so that the queries are the row itself
        sizes, lengths = [piece.size for piece in pieces], [len(piece.text) for piece in pieces]
        self._places = torch.from_numpy(np.concatenate([piece.text for piece in pieces])).to(device)
        self._starts, self._text_starts = (_sums(counts).to(device) for counts in (sizes, lengths))
        self._largest, self._longest = max(sizes), max(lengths)

    def __call__(self, query: Tensor, key: Tensor, value: Tensor, scale: float | None) -> Tensor:
        """Shapes [heads, tokens, size] to [tokens, heads, size]; there may be fewer key heads."""
        from torch.nn.attention.varlen import varlen_attn

        queries = query.transpose(0, 1).to(value.dtype)
        group = query.shape[0] // key.shape[0]
        keys, values = (
            one.transpose(0, 1).to(value.dtype).index_select(0, self._places).repeat_interleave(group, dim=1)
            for one in (key, value)
        )
        # A window of (-1, 0) is causal: a piece is the end of its text, and sees nothing after itself.
        found = varlen_attn(
            queries, keys, values, self._starts, self._text_starts, self._largest, self._longest, scale=scale, window_size=(-1, 0)
        )
        return cast(Tensor, found)


def _sums(counts: Sequence[int]) -> Tensor:
    return torch.from_numpy(np.cumsum([0, *counts], dtype=np.int32))
