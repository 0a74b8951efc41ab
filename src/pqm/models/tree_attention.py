"""Attention of the tokens of a prefix tree.

A tree is one row of tokens for all layers but attention. There it is cut into pieces: the tokens that a solution adds to the tree.
A piece attends only to its own text, so no token is compared with those of other solutions. On a GPU, in bfloat16 or float16, all
pieces are computed at once. Otherwise pieces of similar size are computed together.
"""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, PreTrainedModel
from transformers.cache_utils import get_layer_types_and_kwargs

from pqm.models.architecture import layer_windows, masks_by_layer, text_config
from pqm.models.packed_attention import PackedAttention, Piece, takes_packed

NAME = "prefix_tree"
# A group has pieces of at least this share of its longest piece, less a few tokens.
SHARE, FEW = 0.75, 4


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


def group(pieces: Sequence[Piece]) -> Groups:
    """Put pieces of similar size together. The texts of several pieces have at most as many tokens as the row.

    Args:
        pieces: pieces that contain each token of the row once.
    """
    budget = sum(piece.size for piece in pieces)
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
    outputs, before = np.zeros(budget, dtype=np.int64), 0
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


@dataclass(frozen=True)
class _Padded:
    """The groups on the model's device: places in the row, see `Group` and `Groups`, and shapes and masks of each group."""

    queries: Tensor
    keys: Tensor
    outputs: Tensor
    query_shapes: list[torch.Size]
    key_shapes: list[torch.Size]
    masks: list[Tensor | dict[str, Tensor]]


class TreeAttention:
    """The attention function of `transformers` models while they read a tree. The attention itself is the model's own.

    Args:
        model: the model.
        pieces: the pieces of the row.
    """

    def __init__(self, model: PreTrainedModel, pieces: Sequence[Piece]) -> None:
        config = text_config(model)
        self._pieces, self._windows = pieces, layer_windows(model)
        self._device, self._dtype = model.device, model.dtype
        self._own: str = config._attn_implementation
        self._kinds: Sequence[str] = get_layer_types_and_kwargs(config)[0]

    def __call__(
        self, module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: None, **options: Any
    ) -> tuple[Tensor, None]:
        """The attention of the row; shapes [1, heads, tokens, size] to [1, tokens, heads, size]."""
        if self._own == "sdpa" and set(self._windows.values()) == {None} and takes_packed(value):
            return self._packed(query[0], key[0], value[0], options.get("scaling")).unsqueeze(0), None
        if self._own == "sdpa":
            key, value = (one.repeat_interleave(query.shape[1] // key.shape[1], dim=1) for one in (key, value))
        padded = self._padded
        queries = self._rows(query, padded.queries, padded.query_shapes)
        keys, values = (self._rows(one, padded.keys, padded.key_shapes) for one in (key, value))
        outputs = []
        for q, k, v, masks in zip(queries, keys, values, padded.masks):
            mask = masks if isinstance(masks, Tensor) else masks[self._kinds[module.layer_idx]]
            if self._own == "sdpa":
                found = scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=options.get("scaling")).transpose(1, 2)
            else:
                found, _ = sys.modules[type(module).__module__].eager_attention_forward(module, q, k, v, mask, **options)
            outputs.append(found.flatten(0, 1))
        return torch.cat(outputs).index_select(0, padded.outputs).unsqueeze(0), None

    @cached_property
    def _packed(self) -> PackedAttention:
        return PackedAttention(self._pieces, self._device)

    @cached_property
    def _padded(self) -> _Padded:
        found = group(self._pieces)
        queries, keys = (
            torch.cat([getattr(one, name).flatten() for one in found.groups]).to(self._device) for name in ("queries", "keys")
        )
        query_shapes, key_shapes = ([getattr(one, name).shape for one in found.groups] for name in ("queries", "keys"))
        masks = [self._mask(one) for one in found.groups]
        return _Padded(queries, keys, found.outputs.to(self._device), query_shapes, key_shapes, masks)

    def _mask(self, one: Group) -> Tensor | dict[str, Tensor]:
        """Padding after a text has later positions than the piece. Padding after a piece is computed and then left out."""
        positions, texts = one.positions.to(self._device), torch.arange(one.keys.shape[1], device=self._device)[None]
        later = texts[:, None, None, :] > positions[:, None, :, None]
        mask = torch.zeros(later.shape, dtype=self._dtype, device=self._device).masked_fill_(later, float("-inf"))
        return masks_by_layer(self._windows, mask, positions, texts)

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
def tree_attention(model: PreTrainedModel, pieces: Sequence[Piece]) -> Iterator[None]:
    """Let a model read the pieces of a row, each with its own text only; no change for a model that does so already.

    Layers that are computed again for a backward pass (activation checkpointing) need it, too.
    """
    own = text_config(model)._attn_implementation
    if own == NAME or not takes_attention(model):
        yield
        return
    AttentionInterface.register(NAME, TreeAttention(model, pieces))
    model.config._attn_implementation = NAME
    try:
        yield
    finally:
        model.config._attn_implementation = own
