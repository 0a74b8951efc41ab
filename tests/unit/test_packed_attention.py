"""Attention without padding, with a plain computation in place of FlashAttention, which needs a GPU."""

from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import LlamaConfig, LlamaForTokenClassification

from pqm.models import tree_attention
from pqm.models.encoded import Encoded
from pqm.models.packed_attention import takes_packed
from pqm.models.prefix_trees import build_prefix_trees, step_scores


def plain(query: Tensor, key: Tensor, value: Tensor, starts: Tensor, text_starts: Tensor, *sizes: int, **options: Any) -> Tensor:
    """What `varlen_attn` computes: each piece of the queries is the end of its text."""
    assert options["window_size"] == (-1, 0) and starts.dtype == text_starts.dtype == torch.int32
    assert sizes == (int(starts.diff().max()), int(text_starts.diff().max()))
    found = []
    for (begin, end), (first, last) in zip(pairwise(starts.tolist()), pairwise(text_starts.tolist()), strict=True):
        seen = torch.arange(last - first) <= torch.arange(last - first - (end - begin), last - first)[:, None]
        parts = (one.transpose(0, 1) for one in (query[begin:end], key[first:last], value[first:last]))
        found.append(scaled_dot_product_attention(*parts, attn_mask=seen, scale=options["scale"]).transpose(0, 1))
    return torch.cat(found)


def test_scores_are_those_of_padded_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=50, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
        num_labels=1, classifier_dropout=0.0,
    )  # fmt: skip
    model = LlamaForTokenClassification(config).eval()
    texts = [torch.randint(1, 50, (int(length),)).tolist() for length in torch.randint(1, 12, (9,))]
    texts += [texts[0] + [5], texts[0] + [6, 7], [*texts[1][:1], 8]]
    prompt = [3, 4, 5]
    solutions = [Encoded(tuple(prompt + text), tuple({3, len(text) + 2})) for text in texts]
    trees = build_prefix_trees([(solutions, len(prompt))], budget=40)
    padded = step_scores(model, trees)
    monkeypatch.setattr("torch.nn.attention.varlen.varlen_attn", plain)
    monkeypatch.setattr(tree_attention, "takes_packed", lambda values: True)
    packed = step_scores(model, trees)
    assert len(trees.rows) > 1
    for one, other in zip(padded, packed, strict=True):
        torch.testing.assert_close(torch.tensor(one), torch.tensor(other), atol=1e-5, rtol=1e-5)


def test_only_low_precision_on_a_gpu_is_packed() -> None:
    assert not takes_packed(torch.zeros(2, 64)) and not takes_packed(torch.zeros(2, 64, dtype=torch.bfloat16))
