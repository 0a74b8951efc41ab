"""Attention of the tokens of a prefix tree.

A tree is one row of tokens for all layers but attention. There it is cut into pieces: the tokens that a solution adds to the tree.
A piece attends only to its own text, so no token is compared with those of other solutions. Pieces of similar size are computed
together.
"""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, PreTrainedModel
from transformers.cache_utils import get_layer_types_and_kwargs

from pqm.models.architecture import layer_windows, masks_by_layer, text_config

NAME = "prefix_tree"
# A group has pieces of at least this share of its longest piece, less a few tokens.
SHARE, FEW = 0.75, 4


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


@dataclass(frozen=True)
class Group:
    """Pieces that are computed together, padded to the longest.

    Attributes:
        queries: the place of each token in the row, shape [pieces, tokens].
        keys: the places of the texts, shape [pieces, text].
        positions: the position of each token in its text, shape [pieces, tokens].
    """

    queries: Tensor
    keys: Tensor
    positions: Tensor


@dataclass(frozen=True)
class Groups:
    """All pieces of a row.

    Attributes:
        outputs: the place of each token of the row in the outputs of all groups, shape [tokens].
    """

    groups: list[Group]
    outputs: Tensor


def group(pieces: Sequence[Piece], budget: int) -> Groups:
    """Put pieces of similar size together.

    Args:
        pieces: pieces that contain each token of the row once.
        budget: most tokens of the texts in a group; a group contains at least one piece.
    """
    groups: list[list[Piece]] = []
    widest = 0
    for piece in sorted(pieces, key=lambda piece: (-piece.size, -len(piece.text))):
        wider = max(widest, len(piece.text))
        if groups and piece.size >= SHARE * groups[-1][0].size - FEW and wider * (len(groups[-1]) + 1) <= budget:
            groups[-1].append(piece)
            widest = wider
        else:
            groups.append([piece])
            widest = len(piece.text)
    outputs, before = np.zeros(sum(piece.size for piece in pieces), dtype=np.int64), 0
    for together in groups:
        for row, piece in enumerate(together):
            outputs[piece.start : piece.end] = np.arange(piece.size) + before + row * together[0].size
        before += len(together) * together[0].size
    return Groups([_group(together) for together in groups], torch.from_numpy(outputs))


def _group(pieces: Sequence[Piece]) -> Group:
    queries = np.zeros((len(pieces), pieces[0].size), dtype=np.int64)
    keys = np.zeros((len(pieces), max(len(piece.text) for piece in pieces)), dtype=np.int64)
    for row, piece in enumerate(pieces):
        queries[row, : piece.size] = np.arange(piece.start, piece.end)
        keys[row, : len(piece.text)] = piece.text
    first = np.array([[len(piece.text) - piece.size] for piece in pieces])
    return Group(torch.from_numpy(queries), torch.from_numpy(keys), torch.from_numpy(first + np.arange(pieces[0].size)))


class TreeAttention:
    """The attention function of `transformers` models while they read a tree. The attention itself is the model's own.

    Args:
        model: the model.
        groups: the pieces of the row.
    """

    def __init__(self, model: PreTrainedModel, groups: Groups) -> None:
        config, windows, device = text_config(model), layer_windows(model), model.device
        self._own: str = config._attn_implementation
        self._kinds: Sequence[str] = get_layer_types_and_kwargs(config)[0]
        self._outputs = groups.outputs.to(device)
        self._queries, self._keys = (
            torch.cat([getattr(one, name).flatten() for one in groups.groups]).to(device) for name in ("queries", "keys")
        )
        self._groups = []
        for one in groups.groups:
            positions, texts = one.positions.to(device), torch.arange(one.keys.shape[1], device=device)[None]
            # Padding after a text has later positions than the piece. Padding after a piece is computed and then left out.
            later = texts[:, None, None, :] > positions[:, None, :, None]
            mask = torch.zeros(later.shape, dtype=model.dtype, device=device).masked_fill_(later, float("-inf"))
            self._groups.append((one.queries.shape, one.keys.shape, masks_by_layer(windows, mask, positions, texts)))

    def __call__(
        self, module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: None, **options: Any
    ) -> tuple[Tensor, None]:
        """The attention of the row; shapes [1, heads, tokens, size] to [1, tokens, heads, size]."""
        if self._own == "sdpa":
            key, value = (one.repeat_interleave(query.shape[1] // key.shape[1], dim=1) for one in (key, value))
        queries = self._rows(query, self._queries, [one[0] for one in self._groups])
        keys, values = (self._rows(one, self._keys, [one[1] for one in self._groups]) for one in (key, value))
        outputs = []
        for q, k, v, (_, _, masks) in zip(queries, keys, values, self._groups):
            mask = masks if isinstance(masks, Tensor) else masks[self._kinds[module.layer_idx]]
            if self._own == "sdpa":
                found = scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=options.get("scaling")).transpose(1, 2)
            else:
                found, _ = sys.modules[type(module).__module__].eager_attention_forward(module, q, k, v, mask, **options)
            outputs.append(found.flatten(0, 1))
        return torch.cat(outputs).index_select(0, self._outputs).unsqueeze(0), None

    @staticmethod
    def _rows(tokens: Tensor, places: Tensor, shapes: Sequence[tuple[int, ...]]) -> list[Tensor]:
        """The tokens of each group, selected at once; shape [1, heads, tokens, size] to [rows, heads, places, size] each."""
        size = tokens.shape[-1]
        selected = tokens[0].transpose(0, 1).flatten(1).index_select(0, places).split([rows * width for rows, width in shapes])
        return [one.view(*shape, -1, size).transpose(1, 2) for one, shape in zip(selected, shapes)]


def takes_attention(model: PreTrainedModel) -> bool:
    """Whether an attention function can be given to a model; the others read a row with a mask."""
    return bool(model._supports_attention_backend)


@contextmanager
def tree_attention(model: PreTrainedModel, groups: Groups) -> Iterator[None]:
    """Let a model read the pieces of a row, each with its own text only; no change for a model that does so already.

    Layers that are computed again for a backward pass (activation checkpointing) need it, too.
    """
    own = text_config(model)._attn_implementation
    if own == NAME or not takes_attention(model):
        yield
        return
    AttentionInterface.register(NAME, TreeAttention(model, groups))
    model.config._attn_implementation = NAME
    try:
        yield
    finally:
        model.config._attn_implementation = own
